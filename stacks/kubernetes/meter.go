package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"time"

	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
	"stackmeter/stacks/cgroup/remote"
)

// Meter implements stacks.Stack. Control groups of another machine are read by the agent
// there. Without one, the containers are asked.
func (st *stack) Meter(ctx context.Context) (stacks.Meter, error) {
	groups, here := st.groups()
	if here {
		return cgroup.Start(groups), nil
	}
	session, err := st.agentSession(ctx)
	if err == nil {
		var m stacks.Meter
		if m, err = session.Meter(ctx); err == nil {
			return m, nil
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	m := &insideMeter{stack: st, why: err}
	m.before, m.failed = st.usedInside(ctx)
	return m, nil
}

// CPU implements stacks.Stack.
func (st *stack) CPU(ctx context.Context) (time.Duration, error) {
	groups, here := st.groups()
	if here {
		return cgroup.CPU(groups)
	}
	if session, err := st.agentSession(ctx); err == nil {
		return session.CPU(ctx)
	}
	used, err := st.usedInside(ctx)
	return used.cpu, err
}

// attend has an agent on the stack's node, if that is another machine. That there is none
// fails nothing.
func (st *stack) attend(ctx context.Context) error {
	if _, here := st.groups(); here || st.agent != nil || st.look(ctx) != nil {
		return context.Cause(ctx)
	}
	image, err := st.runtime.agentImage(ctx, func(string) {})
	if err == nil {
		_, err = st.startAgent(ctx, image)
	}
	st.agentless = err
	return context.Cause(ctx)
}

// errNoAgent is why there is none of a stack that was here, or had ended.
var errNoAgent = errors.New("none was started")

// agentSession is with the agent, which meters the services. One that was lost is begun
// anew: the API server, through which it leads, may have been away.
func (st *stack) agentSession(ctx context.Context) (*remote.Session, error) {
	st.metering.Lock()
	defer st.metering.Unlock()
	if st.agent == nil {
		return nil, cmp.Or(st.agentless, errNoAgent)
	}
	if st.session != nil && st.session.Lost() == nil {
		return st.session, nil
	}
	st.session = nil
	stream, err := st.agent.call("meter", controlGroups)
	if err != nil {
		return nil, err
	}
	task := remote.Task{Version: st.runtime.options.Agents.Version}
	for i, s := range st.spec.Services {
		task.Services = append(task.Services, remote.Service{Name: s.Name, Container: st.services[i].container})
	}
	st.session, err = remote.Begin(ctx, stream, task)
	return st.session, err
}

// dismiss lets the agent go.
func (st *stack) dismiss(ctx context.Context) error {
	st.metering.Lock()
	defer st.metering.Unlock()
	if st.agent == nil {
		return nil
	}
	if st.session != nil {
		_ = st.session.Close() // its program ends with the Pod at the latest
		st.session = nil
	}
	return st.agent.leave(ctx, byStack)
}

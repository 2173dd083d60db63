//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
)

// stopTimeout bounds how long a supervisor has to end its service.
const stopTimeout = stacks.Grace + killPatience + 2*time.Second

// Stop implements stacks.Stack. The supervisors do the work. Stop does what they
// could not do, or were killed before they did.
func (st *stack) Stop(ctx context.Context) error {
	st.mu.Lock()
	st.stopped = true
	st.mu.Unlock()
	for _, port := range st.ports {
		port.release()
	}
	errs := make([]error, len(st.services))
	var all sync.WaitGroup
	for i, one := range st.services {
		all.Go(func() { errs[i] = one.stop(ctx) })
	}
	all.Wait()
	_ = os.Remove(st.folder) // stays while another stack has a record in it
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove stack %s: %w", st.spec.Name, err)
	}
	return nil
}

func (one *service) stop(ctx context.Context) error {
	_ = one.control.Close()
	limit := time.NewTimer(stopTimeout)
	defer limit.Stop()
	select {
	case <-one.gone:
	case <-ctx.Done():
		// No grace any more.
		_ = one.record.Supervisor.signal(syscall.SIGTERM)
		select {
		case <-one.gone:
		case <-limit.C:
		}
	case <-limit.C:
	}
	return one.record.clear(one.file)
}

// Sweep implements stacks.Runtime.
func (r *Runtime) Sweep(ctx context.Context, run string) (removed []string, err error) {
	var failed error
	for _, folder := range existing(r.folders) {
		records, err := readRecords(folder)
		failed = errors.Join(failed, err)
		var mu sync.Mutex
		var all sync.WaitGroup
		for file, rec := range records {
			mine, err := r.sweepable(rec, run)
			failed = errors.Join(failed, err)
			if !mine {
				continue
			}
			all.Go(func() {
				err := rec.end(ctx, file)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = errors.Join(failed, err)
				} else {
					removed = append(removed, rec.name())
				}
			})
		}
		all.Wait()
		_ = os.Remove(folder) // stays while another stack has a record in it
	}
	slices.Sort(removed)
	return removed, failed
}

// Leftovers names what Sweep would end of runs that are dead, and ends nothing.
func (r *Runtime) Leftovers() (names []string, err error) {
	for _, folder := range existing(r.folders) {
		records, failed := readRecords(folder)
		err = errors.Join(err, failed)
		for _, rec := range records {
			dead, failed := r.sweepable(rec, "")
			err = errors.Join(err, failed)
			if dead {
				names = append(names, rec.name())
			}
		}
	}
	slices.Sort(names)
	return names, err
}

// sweepable reports whether to sweep a record: it is of the run or, with an empty
// run, its owner is gone.
func (r *Runtime) sweepable(rec record, run string) (bool, error) {
	owner, err := stacks.ParseOwner(rec.Owner)
	if err != nil {
		return false, fmt.Errorf("record of %s: %w", rec.name(), err)
	}
	if run == "" {
		return owner.Gone(r.owner), nil
	}
	if rec.Run != run {
		return false, nil
	}
	if owner.Boot == r.owner.Boot && owner.Namespace != r.owner.Namespace {
		return false, fmt.Errorf("%s runs in another PID namespace; sweep it from there", rec.name())
	}
	return true, nil
}

// end ends at once a service that another process started.
func (rec record) end(ctx context.Context, file string) error {
	if rec.sameBoot() && rec.Supervisor.signal(syscall.SIGTERM) == nil {
		deadline := time.Now().Add(stopTimeout)
		for rec.Supervisor.alive() && time.Now().Before(deadline) && ctx.Err() == nil {
			time.Sleep(killInterval)
		}
	}
	return rec.clear(file)
}

// sameBoot reports whether the record's PIDs can belong to running processes.
func (rec record) sameBoot() bool {
	owner, err := stacks.ParseOwner(rec.Owner)
	self, selfErr := stacks.Self()
	return err == nil && selfErr == nil && owner.Boot == self.Boot
}

// clear kills what is left of a service and removes what was made for it. It may
// be called again, and for a service of which nothing is left.
func (rec record) clear(file string) error {
	deadline := time.Now().Add(killPatience)
	var left []member
	for rec.sameBoot() {
		if left = rec.remaining(); len(left) == 0 || time.Now().After(deadline) {
			break
		}
		for _, m := range left {
			_ = m.signal(syscall.SIGKILL) // one that has ended meanwhile
		}
		time.Sleep(killInterval)
	}
	var failed error
	for _, m := range left {
		failed = errors.Join(failed, fmt.Errorf("service %s: process %d (%s) does not end; kill -9 %d, and look at dmesg if it stays", rec.Service, m.PID, stacks.CommandLine(m.PID), m.PID))
	}
	if err := removeThings(rec); err != nil {
		failed = errors.Join(failed, fmt.Errorf("service %s: %w", rec.Service, err))
	}
	if failed != nil {
		return failed // the record stays, for the next sweep
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("service %s: its record: %w", rec.Service, err)
	}
	return nil
}

// remaining lists the running processes of a service and its supervisor: those
// below the supervisor, those in the control group, those that carry the mark, and
// those of the session. Each way alone misses some. For example, when a supervisor
// is killed, nothing is below it any more, and nginx writes its title over its
// environment.
func (rec record) remaining() []member {
	grouped := cgroup.Processes(rec.Groups)
	mine := map[int]bool{}
	if rec.Supervisor.alive() {
		mine[rec.Supervisor.PID] = true
		for _, m := range below(rec.Supervisor.PID) {
			mine[m.PID] = true
		}
	}
	mark := markService + "=" + rec.Mark
	var found []member
	for _, m := range everyone() {
		switch {
		case m.zombie:
		case mine[m.PID], m.identity == rec.First, slices.Contains(grouped, m.PID),
			slices.Contains(environOf(m.PID), mark), rec.sessionOf(m):
			found = append(found, m)
		}
	}
	return found
}

// sessionOf reports whether a process is in the session of the service's first
// process. The number of a session can be used again once nobody is in it.
// Without its leader, a process counts only if it is in the folder in which the
// service was started.
func (rec record) sessionOf(m member) bool {
	if rec.First.PID <= 0 || m.session != rec.First.PID || m.Start < rec.First.Start {
		return false
	}
	if leader, err := readMember(rec.First.PID); err == nil {
		return leader.Start == rec.First.Start
	}
	dir, err := filepath.EvalSymlinks(rec.Dir)
	at, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", m.PID))
	return err == nil && at == dir
}

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"stackmeter/stacks"
)

// What goes wrong is told as what it is.

// explained says what failed, whether the API server went away, and what to do.
func (r *Runtime) explained(what string, err error) error {
	switch {
	case err == nil, errors.Is(err, stacks.ErrLost):
		return err
	case gone(err):
		return fmt.Errorf("%s: %w: %w", what, stacks.ErrLost, err)
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "hostPID"):
		return fmt.Errorf("%s: %w; an agent sees the processes of its node: let the operator of namespace %s allow that (Pod Security level privileged), or do without its figures (--gpu-sampler off)", what, err, r.namespace)
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "violates PodSecurity"):
		return fmt.Errorf("%s: %w; the namespace asks for more than this stack is confined to: let its image run as a user that is not root (USER in the Dockerfile, user: 1000 in the scenario) and without capabilities, or use another namespace", what, err)
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota"):
		return fmt.Errorf("%s: %w: %w; wait until what uses the quota of namespace %s has ended, for longer (--room-wait), or let its operator raise it", what, stacks.ErrNoRoom, err, r.namespace)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: %w; let the operator of namespace %s grant it", what, err, r.namespace)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: %w; the credentials in your kubeconfig are not, or no longer, good", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// unreachedKubelet is what the API server says when it does not reach the kubelet of a
// node: what runs there is not known.
const unreachedKubelet = "error dialing backend"

// gone reports whether an error says that the API server does not answer, or not now.
func gone(err error) bool {
	var network net.Error
	return errors.As(err, &network) || utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err) ||
		utilnet.IsProbableEOF(err) || strings.Contains(err.Error(), unreachedKubelet) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err) && strings.Contains(err.Error(), "etcd") || errors.Is(err, context.DeadlineExceeded)
}

// patiently asks again while the API server is away: a stack goes on without it.
func (r *Runtime) patiently(ctx context.Context, what string, ask func(context.Context) error) error {
	began := time.Now()
	for {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, r.limits.call)
			defer cancel()
			return ask(ctx)
		}()
		if err == nil || !gone(err) || ctx.Err() != nil || time.Since(began) > r.limits.away {
			if ctx.Err() != nil && err != nil {
				err = context.Cause(ctx)
			}
			return r.explained(what, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// byItself is what the scheduler adds about the Pods that it could put out.
var byItself = regexp.MustCompile(`\. (?:no new claims to deallocate, )?preemption: .*`)

// unschedulable is why the Pod has no node, in the scheduler's words; empty if it has
// one, or nothing is known yet.
func unschedulable(pod *core.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == core.PodScheduled && c.Status == core.ConditionFalse {
			return strings.TrimSuffix(byItself.ReplaceAllString(c.Message, ""), ".")
		}
	}
	return ""
}

// whyUnscheduled says that no node was found.
func whyUnscheduled(said string, waited time.Duration) error {
	if said == "" {
		return fmt.Errorf("the scheduler has said nothing of the Pod for %v; see whether it runs", waited)
	}
	return fmt.Errorf("no node has had room for the Pod for %v: %s; ask for less (resources), wait until other Pods have ended, or for longer (--room-wait)", waited, said)
}

// notStarted says why a container that waits will not start; nil: it may still. tries
// is how often its image could not be pulled so far.
func notStarted(c core.ContainerStatus) error {
	w := c.State.Waiting
	if w == nil {
		return nil
	}
	switch w.Reason {
	case "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull": // a first ErrImagePull is tried again
		return fmt.Errorf("its image %s cannot be pulled (%s): %s; correct its name, or let the nodes pull it (imagePullSecrets of the namespace's default service account)", c.Image, w.Reason, w.Message)
	case "CreateContainerConfigError":
		if strings.Contains(w.Message, "non-root") || strings.Contains(w.Message, "non-numeric user") {
			return fmt.Errorf("%s; let the image run as a user that is not root, in numbers (USER 1000 in its Dockerfile), or write user: 1000, or user: root to run it so, under app, the topology or the service", w.Message)
		}
		return fmt.Errorf("its container cannot be made (%s): %s", w.Reason, w.Message)
	case "CreateContainerError", "RunContainerError":
		return commandError(w.Message)
	}
	return nil
}

// commandError adds the remedy to what the container runtime said of a container that
// it could not start.
func commandError(message string) error {
	if strings.Contains(message, "executable file not found") || strings.Contains(message, "no such file or directory") {
		return fmt.Errorf("the command is not in the image: %s; check the topology's command against the image", message)
	}
	return fmt.Errorf("its container did not start: %s", message)
}

// ending says how a container ended.
func ending(t *core.ContainerStateTerminated, argv []string) error {
	switch {
	case t.Reason == "StartError" || t.Reason == "ContainerCannotRun":
		return commandError(t.Message)
	case t.Reason == "OOMKilled":
		return stacks.Exited(int(t.ExitCode), true)
	case t.Reason == "ContainerStatusUnknown":
		return fmt.Errorf("%w: the kubelet lost sight of it: %s", stacks.ErrLost, t.Message)
	case t.ExitCode == 0:
		command := "of its image"
		if len(argv) > 0 {
			command = fmt.Sprintf("%q", argv[0])
		}
		return fmt.Errorf("exited with status 0: its command %s ended by itself; a service has to stay in the foreground (without --daemon or &)", command)
	}
	return stacks.Exited(int(t.ExitCode), false)
}

// taken says who else ended the Pod as a whole; nil if nobody did.
func taken(pod *core.Pod) error {
	for _, c := range pod.Status.Conditions {
		if c.Type == core.DisruptionTarget && c.Status == core.ConditionTrue && c.Reason != core.PodReasonTerminationByKubelet {
			return fmt.Errorf("its Pod %w: %s: %s", stacks.ErrDisturbed, c.Reason, c.Message)
		}
	}
	switch reason := pod.Status.Reason; {
	case pod.DeletionTimestamp != nil:
		return fmt.Errorf("its Pod %w: somebody deleted it", stacks.ErrDisturbed)
	case pod.Status.Phase != core.PodFailed || reason == "":
		return nil
	case reason == "Evicted" && strings.Contains(pod.Status.Message, "ephemeral"):
		return fmt.Errorf("its Pod %w: it was evicted: %s", stacks.ErrEnded, pod.Status.Message)
	case reason == "DeadlineExceeded":
		return fmt.Errorf("its Pod %w: it ran for longer than its activeDeadlineSeconds, %d", stacks.ErrEnded, lifetime)
	case reason == "NodeLost" || reason == "NodeShutdown" || reason == "Terminated":
		return fmt.Errorf("its Pod: %w: %s: %s", stacks.ErrLost, reason, pod.Status.Message)
	case reason == "Evicted" || reason == "Preempting":
		return fmt.Errorf("its Pod %w: %s: %s", stacks.ErrDisturbed, reason, pod.Status.Message)
	}
	return fmt.Errorf("its Pod %w: the node refused it: %s: %s", stacks.ErrEnded, pod.Status.Reason, pod.Status.Message)
}

var errUnheard = errors.New("the cluster does not hear of it any more")

// An unheardNode is that of a Pod.
type unheardNode struct{ name string }

func (e *unheardNode) Error() string {
	return fmt.Sprintf("node %s: %v: %v", e.name, stacks.ErrLost, errUnheard)
}

func (e *unheardNode) Unwrap() []error { return []error{stacks.ErrLost, errUnheard} }

// unheard says that the Pod's node has not been heard of: what runs there is not known.
func unheard(pod *core.Pod) error {
	for _, c := range pod.Status.Conditions {
		if c.Type != core.PodReady || c.Status != core.ConditionFalse {
			continue
		}
		for _, one := range pod.Status.ContainerStatuses {
			if one.State.Running == nil || !one.Ready {
				return nil
			}
		}
		return &unheardNode{pod.Spec.NodeName}
	}
	return nil
}

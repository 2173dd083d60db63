// Package kubernetes runs stacks as Pods of a Kubernetes cluster. All that schedules,
// starts and restarts is Kubernetes.
//
// A stack is one Pod: its services are containers that share their network, so that
// the proxy reaches the app at 127.0.0.1. Beside the Pod there are a Secret with the
// environment, a NetworkPolicy, and an owner: a Job without Pods whose time to live is
// put off while this process runs. When it is gone for good, the cluster removes the
// owner and with it everything else.
//
// Labels are the only state, as in package docker: teardown and sweeping ask the API
// server what there is.
package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distribution/reference"
	"github.com/go-logr/logr"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// Name is what --runtime calls this runtime.
const Name = "kubernetes"

// Labels of every object, and the annotation that says whose it is: labels cannot have
// an owner's characters.
const (
	labelRun    = "stackmeter.run"   // run id
	labelStack  = "stackmeter.stack" // one start of one stack
	annotations = "stackmeter.owner" // stacks.Owner
)

// gpuResource is what a stack asks for that wants such devices.
func gpuResource(want scenarios.GPU) core.ResourceName { return core.ResourceName(want.Resource()) }

// Options say which cluster stacks run in.
type Options struct {
	Context   string            // of the kubeconfig; empty: its current one
	Namespace string            // empty: that of the context
	Nodes     Nodes             // the zero value: any without taints
	Images    Images            // makes what has to be built; nil: only images that are there can be run
	Proxies   map[string]string // images of proxies that are there, by their software; Images makes the others
	Agents    Agents
	RoomWait  time.Duration // for a node, or for quota; 0: DefaultRoomWait
}

// DefaultRoomWait is how long a Pod waits until others leave it room.
const DefaultRoomWait = 10 * time.Minute

// An Image is what a container is made from.
type Image struct {
	Reference string // as nodes pull it, with its digest
	Digest    string
	User      string // whom it runs as by itself
}

// Images makes the images of services whose scenario names none, and that of agents, and
// puts them where the nodes pull them from.
type Images interface {
	Publish(ctx context.Context, s stacks.Service, progress func(string)) (Image, error)

	// PublishAgent makes the image that agents run from.
	PublishAgent(ctx context.Context, progress func(string)) (Image, error)
}

// Runtime is stacks.Runtime over a cluster. New makes one.
type Runtime struct {
	options   Options
	namespace string
	config    *rest.Config
	http      *http.Client
	api       kubernetes.Interface
	owner     stacks.Owner
	limits    limits

	making sync.RWMutex // read-locked while an object of a run is made: see creating
	images sync.Map     // Image by key
	seen   sync.Map     // of images that a scenario names without a digest: those whose first Pod was started
	stacks sync.Map     // *stack by URL, of those with a load Pod
	lost   sync.Map     // names of nodes with a stack of which the cluster heard no more
	proven atomic.Bool  // that a Pod starts, and can be reached
	beside atomic.Bool  // that load Pods get no other node than the stack's
	remote bool         // tests set it: processes of this machine are not looked for
}

// limits are how long the cluster may take.
type limits struct {
	call      time.Duration // to answer
	away      time.Duration // to answer again when it did not, while a stack is up
	unheard   time.Duration // to hear of a node again
	schedule  time.Duration // until a quota admits a Pod, and then to find a node for it
	elsewhere time.Duration // to find another node for the first load Pod
	agent     time.Duration // to find room for an agent on its node
	start     time.Duration // to pull images and start a Pod's containers
	stop      time.Duration // to end them
	lease     time.Duration // after which the cluster removes a stack whose process is gone
}

func defaultLimits() limits {
	return limits{call: 30 * time.Second, away: 2 * time.Minute, unheard: 20 * time.Second, schedule: DefaultRoomWait, elsewhere: 10 * time.Second, agent: 30 * time.Second, start: 8 * time.Minute, stop: 2 * time.Minute, lease: 10 * time.Minute}
}

// Validate refuses names that are none.
func (o Options) Validate() error {
	var all []error
	check := func(flag, value string, wrong []string) {
		if value != "" && len(wrong) > 0 {
			all = append(all, fmt.Errorf("--%s %q: %s", flag, value, strings.Join(wrong, ", ")))
		}
	}
	image := func(flag, name string) {
		if _, err := reference.ParseNormalizedNamed(name); err != nil {
			check(flag, name, []string{err.Error()})
		}
	}
	check("namespace", o.Namespace, validation.IsDNS1123Label(o.Namespace))
	check("runtime-class", o.Agents.RuntimeClass, validation.IsDNS1123Subdomain(o.Agents.RuntimeClass))
	image("agent-image", o.Agents.Image)
	for _, software := range slices.Sorted(maps.Keys(o.Proxies)) {
		image("proxy-image", o.Proxies[software])
	}
	return errors.Join(all...)
}

// silence keeps client-go from printing what it also returns. Whoever set that again would
// race with the streams of the Runtime before.
var silence = sync.OnceFunc(func() { klog.SetLogger(logr.Discard()) })

// New reads the kubeconfig ($KUBECONFIG, or ~/.kube/config), or in a Pod what the
// cluster gives it. It does not talk to the cluster yet; Check does.
func New(o Options) (*Runtime, error) {
	silence()
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), &clientcmd.ConfigOverrides{CurrentContext: o.Context})
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubernetes: %w; name a context of your kubeconfig with --context, and its file in KUBECONFIG", err)
	}
	namespace := o.Namespace
	if namespace == "" {
		if namespace, _, err = loader.Namespace(); err != nil {
			return nil, fmt.Errorf("kubernetes: %w", err)
		}
	}
	if o.Namespace = namespace; o.Validate() != nil {
		return nil, fmt.Errorf("kubernetes: %w", o.Validate())
	}
	config.QPS = -1 // the server has limits of its own, and fair ones
	config.WarningHandler = rest.NoWarnings{}
	config.UserAgent = "stackmeter"
	r := &Runtime{options: o, namespace: namespace, limits: defaultLimits()}
	r.limits.schedule = cmp.Or(o.RoomWait, r.limits.schedule)
	if r.owner, err = stacks.Self(); err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	return r, r.connect(config)
}

// connect makes the clients.
func (r *Runtime) connect(config *rest.Config) (err error) {
	r.config = config
	if r.http, err = rest.HTTPClientFor(config); err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	if r.api, err = kubernetes.NewForConfigAndClient(config, r.http); err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	return nil
}

// Close drops the connections to the cluster.
func (r *Runtime) Close() error {
	utilnet.CloseIdleConnectionsFor(r.http.Transport) // through what client-go has wrapped it in
	return nil
}

// Has does nothing: the devices are those of the cluster's nodes.
func (r *Runtime) Has([]stacks.Device, string) {}

// Local returns false: which node a Pod gets is not known before.
func (r *Runtime) Local(context.Context) (bool, error) { return false, nil }

// Describe names the cluster's version, for the record of a run.
func (r *Runtime) Describe(ctx context.Context) string {
	version, err := r.api.Discovery().ServerVersion()
	if err != nil || ctx.Err() != nil {
		return "a cluster that does not answer"
	}
	return fmt.Sprintf("Kubernetes %s (namespace %s)", version.GitVersion, r.namespace)
}

// Devices implements stacks.Runtime. The cluster chooses the devices, so that none is
// named before a stack has them; a run locks none.
func (r *Runtime) Devices(ctx context.Context, want scenarios.GPU) (uuids []string, none string, err error) {
	switch {
	case want.Mode == scenarios.GPUOff || want.Mode == "":
		return nil, "", nil
	case len(want.Devices) > 0:
		return nil, "", fmt.Errorf("%w: resources.gpu.devices names GPUs, and in a cluster its scheduler chooses them; write resources.gpu.count instead", stacks.ErrUnavailable)
	case want.MPS != nil:
		return nil, "", fmt.Errorf("%w: resources.gpu.mps: NVIDIA's MPS belongs to a machine, and a Pod cannot ask for it", stacks.ErrUnavailable)
	}
	selected, err := r.options.Nodes.labelled(want)
	if err != nil {
		return nil, "", err
	}
	most, err := r.mostGPUs(ctx, want)
	switch {
	case apierrors.IsForbidden(err) && (want.Mode == scenarios.GPURequired || want.Product != "") && want.Count != scenarios.AllGPUs:
		return nil, "", nil // the scheduler will say
	case apierrors.IsForbidden(err):
		return nil, "this user may not list the cluster's nodes, so that it is not known whether they have GPUs; resources.gpu.mode: required with a count asks for them", nil
	case err != nil:
		return nil, "", r.explained("list the nodes", err)
	case most == 0 && want.Mode == scenarios.GPUAuto && want.Product == "":
		return nil, fmt.Sprintf("no node%s has %s", with(selected), gpuResource(want)), nil
	case most == 0 || int64(want.Count) > most:
		return nil, "", fmt.Errorf("%w: resources.gpu asks for %d %s; the nodes%s have at most %d each", stacks.ErrUnavailable, max(1, want.Count), gpuResource(want), with(selected), most)
	}
	return nil, "", nil
}

// mostGPUs is how many GPUs the node has that has the most, of those with the labels that
// Pods ask for.
func (r *Runtime) mostGPUs(ctx context.Context, want scenarios.GPU) (most int64, err error) {
	selected, err := r.options.Nodes.labelled(want)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.limits.call)
	defer cancel()
	nodes, err := r.api.CoreV1().Nodes().List(ctx, meta.ListOptions{LabelSelector: labels.Set(selected).String()})
	if err != nil {
		return 0, err
	}
	for _, node := range nodes.Items {
		most = max(most, amount(node.Status.Allocatable, gpuResource(want)))
	}
	return most, nil
}

// given is how many GPUs the stack of a spec gets.
func (r *Runtime) given(ctx context.Context, want scenarios.GPU) (int64, error) {
	_, none, err := r.Devices(ctx, want)
	switch {
	case err != nil, none != "", want.Mode == scenarios.GPUOff, want.Mode == "":
		return 0, err
	case want.Count == scenarios.AllGPUs:
		return r.mostGPUs(ctx, want)
	}
	return int64(max(1, want.Count)), nil
}

// Prepare implements stacks.Runtime. It refuses what a Pod cannot have, makes the
// images, and lets the API server look at the Pod without making it. Once, it starts a
// stack and removes it again, to see that Pods get a node and can be reached from here.
func (r *Runtime) Prepare(ctx context.Context, spec stacks.Spec, progress func(string)) error {
	if err := refuse(spec); err != nil {
		return err
	}
	for _, s := range spec.Services {
		if _, err := r.image(ctx, s, progress); err != nil {
			return fmt.Errorf("service %s: %w", s.Name, err)
		}
	}
	_, _ = r.agentImage(ctx, progress) // that there is none is told where it is missed
	st, err := r.stack(ctx, spec)
	if err != nil {
		return err
	}
	if err := st.admissible(ctx); err != nil {
		return err
	}
	tags := r.unpinned(spec)
	switch {
	case !r.proven.Load():
		progress("start a Pod once, to see that the cluster gives it a node and that it is reached")
	case len(tags) > 0:
		progress("start a Pod once, to see which image " + strings.Join(tags, ", ") + " is")
	default:
		return nil
	}
	if err := r.prove(ctx, spec, progress); err != nil {
		return err
	}
	if r.beside.Load() && spec.Client.Node == "" {
		progress("no other node takes the load Pod: the client runs on the stack's")
	}
	return nil
}

// unprivileged stands for whom a proxy's image runs as that is only named: stackmeter's own
// have such a user, and the kubelet refuses one that would be root.
const unprivileged = "33:33"

// image finds or makes the image of a service.
func (r *Runtime) image(ctx context.Context, s stacks.Service, progress func(string)) (Image, error) {
	key := s.Image
	switch {
	case s.Image != "":
	case s.Build != nil:
		key = fmt.Sprintf("build %+v", *s.Build)
	case s.Proxy != nil:
		key = "proxy " + s.Proxy.Software
	default:
		return Image{}, errors.New("it has neither an image nor a build context")
	}
	if made, ok := r.images.Load(key); ok {
		return made.(Image), nil
	}
	made := Image{Reference: s.Image}
	if s.Image == "" && s.Proxy != nil && r.options.Proxies[s.Proxy.Software] != "" {
		made = Image{Reference: r.options.Proxies[s.Proxy.Software], User: unprivileged}
	}
	if _, digest, pinned := strings.Cut(made.Reference, "@"); pinned {
		made.Digest = digest
	}
	if made.Reference == "" {
		if r.options.Images == nil {
			return Image{}, fmt.Errorf("%w: its image has to be built, and it is not known where the nodes pull images from: give --image-prefix REGISTRY/PREFIX, to which the engine of this machine may push%s", stacks.ErrUnavailable, orNamed(s))
		}
		var err error
		if made, err = r.options.Images.Publish(ctx, s, progress); err != nil {
			return Image{}, err
		}
	}
	r.images.Store(key, made)
	return made, nil
}

// orNamed is what else gives a proxy an image.
func orNamed(s stacks.Service) string {
	if s.Proxy == nil {
		return ""
	}
	return ", or --proxy-image " + s.Proxy.Software + "=IMAGE"
}

// Digest implements stacks.Runtime.
func (r *Runtime) Digest(s stacks.Service) string {
	made, err := r.image(context.Background(), s, func(string) {})
	if err != nil {
		return ""
	}
	return made.Digest
}

// refuse names what a scenario asks for and a Pod cannot have.
func refuse(spec stacks.Spec) error {
	gpus := 0
	for _, s := range spec.Services {
		if s.GPU {
			gpus++
		}
		o := s.Container
		for _, one := range []struct {
			asked  bool
			what   string
			remedy string
		}{
			{len(s.Cores) > 0, "resources.cpuset", "the kubelet assigns cores, to Pods with whole cpus and a memory limit where its CPU manager is static"},
			{len(o.Ulimits) > 0, "ulimits", "a Pod cannot have them: let the image set them"},
			{o.PIDs > 0, "pids", "the kubelet's podPidsLimit bounds them for all Pods"},
			{len(o.Mounts) > 0, "mounts", "the nodes do not have this machine's folders: put the files into the image"},
			{o.Entrypoint != nil && len(o.Entrypoint) == 0 && len(s.Command) == 0, "an empty entrypoint without a command", "write the command"},
			{user(o.User) == nil && o.User != "", "user " + o.User, "write it as numbers (1000:1000): the cluster does not look into the image"},
		} {
			if one.asked {
				return fmt.Errorf("service %s asks for %s, and --runtime kubernetes has none of that: %s", s.Name, one.what, one.remedy)
			}
		}
	}
	if gpus > 1 && spec.GPU.Mode != scenarios.GPUOff && spec.GPU.Mode != "" {
		return fmt.Errorf("its services share a GPU, and the containers of a Pod cannot: let one service have it (no replicas), or set resources.gpu.mode to off")
	}
	if inits := slices.Compact(ownInit(spec)); len(inits) > 1 {
		return errors.New("init: false holds for a whole Pod, and not all of its services say it")
	}
	return nil
}

// ownInit says of each service, but the proxies, whether it is its own init process.
func ownInit(spec stacks.Spec) (all []bool) {
	for _, s := range spec.Services {
		if s.Proxy == nil {
			all = append(all, s.Container.Init != nil && !*s.Container.Init)
		}
	}
	return all
}

// quantity is a number of something in the words of Kubernetes.
func quantity(n int64) resource.Quantity { return *resource.NewQuantity(n, resource.BinarySI) }

// inPod reports whether this process runs in a Pod, which reaches others.
func inPod() bool { return os.Getenv("KUBERNETES_SERVICE_HOST") != "" }

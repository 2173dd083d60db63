// Package manifest writes down what an orchestrator in a cluster is made from.
package manifest

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stackmeter/cmd/stackmeter/runtimes"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/orchestrator/lock"
	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/kubernetes"
	"stackmeter/stacks/servers"
)

// A Manifest is of an orchestrator that runs a scenario with the flags of a command that
// has those of run.
type Manifest struct {
	Variable string // of the environment, with the address of the store
	Runtime  *runtimes.Options

	// Load reads a scenario as the flags say it is run, and with what is set besides. Its
	// paths may lead to the folders, too.
	Load func(file string, set []string, allow ...string) (scenarios.Plan, error)

	name, schedule, secret string

	given map[string]*recorded // flags that are functions, by their names
}

// recorded is a flag that is a function, with the texts that it was given: it does not say
// them.
type recorded struct {
	pflag.Value
	texts []string
}

// Set implements pflag.Value.
func (r *recorded) Set(text string) error {
	r.texts = append(r.texts, text)
	return r.Value.Set(text)
}

// Flags adds those that say what it is, behind those of run.
func (m *Manifest) Flags(cmd *cobra.Command) {
	usage.NameFlag(cmd, &m.name, "name", "call the Job, and all that belongs to it, `NAME` (default stackmeter and the scenario's name)")
	cmd.Flags().StringVar(&m.schedule, "schedule", "", "a CronJob that runs it at these `TIMES`, as in \"0 2 * * *\"; by default a Job that runs it once")
	cmd.Flags().StringVar(&m.secret, "db-secret", "", "the `SECRET` of the namespace that has the store's address, postgres://USER@HOST/DATABASE, under the key "+kubernetes.SecretKey)
	m.given = map[string]*recorded{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() == "func" {
			m.given[f.Name] = &recorded{Value: f.Value}
			f.Value = m.given[f.Name]
		}
	})
}

// own are flags that it sets itself, or that are its own.
func own() []string {
	return []string{"runtime", "namespace", "image-prefix", "agent-image", "proxy-image", "allow-path", "name", "schedule", "db-secret"}
}

// foreign are flags of run that make no sense there, and why.
func foreign() map[string]string {
	return map[string]string{
		"db":       "the Pod has its store's address from --db-secret",
		"context":  "it is for the cluster that the manifest is applied to: kubectl apply --context NAME",
		"tag":      "each run is named as its Job is",
		"resume":   "each Job goes on with its own run",
		"env":      "the Pod has no such variable, and everyone who may read Jobs would see its value",
		"json":     "the file would be gone with the Pod: stackmeter export and report read the store",
		"nvml":     "agents use the driver's library of their node",
		"compare":  "which runs there will be is not known here: the scenario says it with against",
		"progress": "its log has plain lines",
	}
}

// Print writes it for a scenario. What has to be pushed is pushed before, and told to
// progress.
func (m *Manifest) Print(ctx context.Context, flags *pflag.FlagSet, scenario string, progress func(string), stdout io.Writer) error {
	for name, why := range foreign() {
		if f := flags.Lookup(name); f != nil && f.Changed {
			return usage.Errorf("--%s: %s", name, why)
		}
	}
	if f := flags.Lookup("runtime"); f.Changed && m.Runtime.Name != kubernetes.Name {
		return usage.Errorf("--runtime %s: stacks of an orchestrator in a cluster are there, too", m.Runtime.Name)
	}
	m.Runtime.Name = kubernetes.Name
	if m.secret == "" {
		return usage.Errorf("name the Secret with the store's address with --db-secret: kubectl create secret generic NAME --from-literal=%s=postgres://USER:PASSWORD@HOST/DATABASE", kubernetes.SecretKey)
	}
	namespace := flags.Lookup("namespace").Value.String()
	if namespace == "" {
		return usage.Errorf("name the namespace of the orchestrator and its stacks with --namespace")
	}
	plan, err := m.Load(scenario, nil)
	if err != nil {
		return err
	}
	var services []stacks.Service
	for _, trial := range plan.Trials {
		spec, err := servers.Expand("manifest", plan, trial.Topology)
		if err != nil {
			return usage.Error(err)
		}
		services = append(services, spec.Services...)
	}
	for _, s := range services {
		if s.Image == "" && s.Proxy == nil {
			return usage.Errorf("the image of service %s is built, and an orchestrator in the cluster has no engine: build and push it, and name it in app.image", s.Name)
		}
	}
	files, at, err := m.files(plan, scenario)
	if err != nil {
		return err
	}
	o := kubernetes.Orchestrator{
		Name: m.called(plan), Namespace: namespace, Schedule: m.schedule, Secret: m.secret, Variable: m.Variable, Locks: lock.FolderVariable, Files: files,
		Args: []string{"run", kubernetes.Folder + "/" + at, "--runtime=" + kubernetes.Name, "--namespace=" + namespace, "--tag=" + kubernetes.JobName, "--resume=" + kubernetes.JobName,
			"--allow-path=" + kubernetes.Folder, "--progress=plain"},
	}
	o.Args = append(o.Args, m.repeated(flags)...)
	for _, setting := range instead(plan) {
		o.Args = append(o.Args, "--set="+setting)
	}
	if _, err := o.Manifest(); err != nil { // before anything is pushed
		return usage.Error(err)
	}
	agent, images, err := m.Runtime.ForCluster(ctx, services, progress)
	if err != nil {
		return err
	}
	o.Image, o.Args = agent, append(o.Args, images...)
	text, err := o.Manifest()
	if err != nil {
		return err
	}
	_, err = stdout.Write(text)
	return err
}

// instead are values that a scenario has in the Pod: the folder of local processes is not
// there, and has to be one.
func instead(plan scenarios.Plan) []string {
	if plan.App.Dir == "" {
		return nil
	}
	return []string{"app.dir=."}
}

// called is its name: a word of Kubernetes.
func (m *Manifest) called(plan scenarios.Plan) string {
	if m.name != "" {
		return m.name
	}
	word := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(plan.Scenario))
	return strings.Trim("stackmeter-"+word, "-")
}

// files are the scenario and what it reads, by their paths below the folder that has them
// all, and where the scenario is in it. They are tried out in a folder of their own: what
// the Pod would miss is missing there.
func (m *Manifest) files(plan scenarios.Plan, scenario string) (files map[string][]byte, at string, err error) {
	whole, err := filepath.Abs(scenario)
	if err != nil {
		return nil, "", err
	}
	paths := append(plan.Reads(), whole)
	base := filepath.Dir(whole)
	for _, file := range paths {
		for !below(base, file) {
			base = filepath.Dir(base)
		}
	}
	try, err := os.MkdirTemp("", "stackmeter-manifest-")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(try)
	files = map[string][]byte{}
	for _, file := range paths {
		name, err := filepath.Rel(base, file)
		if err != nil {
			return nil, "", err
		}
		content, err := os.ReadFile(file)
		if err == nil {
			err = os.MkdirAll(filepath.Join(try, filepath.Dir(name)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(try, name), content, 0o600)
		}
		if err != nil {
			return nil, "", err
		}
		files[filepath.ToSlash(name)] = content
	}
	if at, err = filepath.Rel(base, whole); err != nil {
		return nil, "", err
	}
	there, err := m.Load(filepath.Join(try, at), instead(plan), try)
	if err != nil {
		return nil, "", usage.Errorf("in the cluster there are only the scenario and the files that it reads: %w", err)
	}
	for _, file := range there.Reads() {
		if !below(try, file) {
			return nil, "", usage.Errorf("file %s is named by its absolute path, which the Pod does not have: name it by its path from the scenario", file)
		}
	}
	return files, filepath.ToSlash(at), nil
}

// below reports whether a file is in a folder or in one of its own.
func below(folder, file string) bool {
	name, err := filepath.Rel(folder, file)
	return err == nil && filepath.IsLocal(name)
}

// repeated are the flags that were given, as the Pod is given them again.
func (m *Manifest) repeated(flags *pflag.FlagSet) []string {
	var args []string
	flags.Visit(func(f *pflag.Flag) {
		if slices.Contains(own(), f.Name) {
			return
		}
		values := []string{f.Value.String()}
		if list, is := f.Value.(pflag.SliceValue); is {
			values = list.GetSlice()
		} else if given := m.given[f.Name]; given != nil {
			values = given.texts
		}
		for _, value := range values {
			args = append(args, "--"+f.Name+"="+value)
		}
	})
	return args
}

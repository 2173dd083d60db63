package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/cmd/stackmeter/files"
	"stackmeter/cmd/stackmeter/machine"
	"stackmeter/cmd/stackmeter/propose"
	"stackmeter/cmd/stackmeter/runtimes"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/draft"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
	"stackmeter/stacks/discover"
	"stackmeter/stacks/servers"
)

// draftOptions are what is said of an app that has no scenario yet.
type draftOptions struct {
	draft.Draft
	env   []string // NAME=VALUE for the scenario, or NAME of the operator's environment
	force bool

	given map[string]string // the operator's variables
	copy  string            // the payload, if it is not in the scenario's folder; its copy is
}

const defaultScenario = "service.yaml"

func (o *draftOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.Name, "name", "", "what the scenario is called, `NAME` (default the image's or folder's name)")
	f.StringVar(&o.WSGI, "wsgi", "", "the WSGI callable, `MODULE:CALLABLE`; a factory with ()")
	f.StringVar(&o.ASGI, "asgi", "", "the ASGI callable, `MODULE:CALLABLE`; a factory with ()")
	f.StringArrayVar(&o.env, "env", nil, "set this variable of the app: `NAME=VALUE` is in the scenario; of NAME alone the value is your environment's, and is stored nowhere; may be repeated")
	f.IntVar(&o.Port, "port", 0, "the `PORT` that the app listens on")
	f.StringVar(&o.Ready, "ready", "", "the `PATH` that is answered once the app is ready")
	usage.TimeFlag(cmd, &o.Timeout, "ready-timeout", 2*time.Minute, "how long a start may take, `TIME`")
	f.StringVar(&o.Method, "method", "", "of the request: POST with a body, and GET without, unless this `METHOD`")
	f.StringVar(&o.Path, "path", "", "the `PATH` of the request")
	f.StringVar(&o.Payload, "file", "", "send this `FILE`")
	f.StringVar(&o.Field, "field", "", "send the file as this `FIELD` of a form")
	f.Func("json", "send this `JSON`", func(text string) error { // no file, as --json of other commands is
		if !json.Valid([]byte(text)) {
			return errors.New("that is no JSON, for example '{\"text\": \"hello\"}'")
		}
		o.JSON = text
		return nil
	})
	f.IntVar(&o.Requests, "requests", 0, "how many `N` requests a cell sends")
	f.IntSliceVar(&o.Pools, "pool", nil, "how many clients send at once, `N`")
	f.StringVar(&o.GPU, "gpu", "", "auto, required or off")
	f.StringArrayVar(&o.Topologies, "topology", nil, "a `TOPOLOGY` instead of those that are proposed, for example 'gunicorn w2/t4'; may be repeated")
	f.StringArrayVar(&o.Under, "under", nil, "a budget, `METRIC=VALUE`, for example gpu_peak=5GiB; may be repeated")
	f.StringVar(&o.Objective, "objective", "", "the `METRIC` that is to be best (default duration)")
	f.StringVar(&o.Draft.File, "output", defaultScenario, "the scenario `FILE` to write")
	f.BoolVar(&o.force, "force", false, "replace the scenario file if it is there")
}

// check refuses what can be refused before anything is started.
func (o *draftOptions) check(image string) error {
	if o.WSGI != "" && o.ASGI != "" {
		return usage.Errorf("--wsgi and --asgi: keep one of them")
	}
	if o.Payload != "" && o.JSON != "" {
		return usage.Errorf("--file and --json: keep one of them")
	}
	if o.Field != "" && o.Payload == "" {
		return usage.Errorf("--field %s: give the --file that is sent as it", o.Field)
	}
	for _, text := range o.Under {
		if _, err := verdict.ParseBudget(text); err != nil {
			return usage.Errorf("--under: %w", err)
		}
	}
	if _, err := os.Stat(o.File); err == nil && !o.force {
		return usage.Errorf("%s is there already: move it away, name another one with --output, or give --force", o.File)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return usage.Error(err)
	}
	if err := o.variables(); err != nil {
		return err
	}
	if err := o.paths(image); err != nil {
		return err
	}
	if _, err := o.loader().Parse(o.File, []byte(o.Draft.String())); err != nil {
		return usage.Errorf("what %s would say: %w", o.File, err)
	}
	return nil
}

// variables sorts those of --env: a value on the command line is the scenario's.
func (o *draftOptions) variables() error {
	o.Env, o.given = map[string]string{}, map[string]string{}
	for _, one := range o.env {
		name, value, has := strings.Cut(one, "=")
		if has {
			o.Env[name] = value
			continue
		}
		if value, has = os.LookupEnv(name); !has {
			return usage.Errorf("--env %s: the environment has no such variable; set it, or give NAME=VALUE", show.Line(name))
		}
		o.given[name] = value
	}
	return nil
}

// paths makes those of the scenario relative to it, so that they lead nowhere else.
func (o *draftOptions) paths(image string) error {
	home, err := filepath.Abs(filepath.Dir(o.File))
	if err != nil {
		return err
	}
	if o.Image = image; image != "" {
		if info, err := os.Stat(image); err == nil && info.IsDir() {
			if _, err := os.Stat(filepath.Join(image, "Dockerfile")); err != nil {
				return usage.Errorf("%s is a folder without a Dockerfile. Add one, for example\n\n%s\nor give the name of an image", image, exampleDockerfile)
			}
			folder, err := filepath.Abs(image)
			if err != nil {
				return err
			}
			if o.Image = ""; o.Name == "" {
				o.Name = draft.Name(filepath.Base(folder))
			}
			if o.Build, err = filepath.Rel(home, folder); err != nil {
				return usage.Error(err)
			}
			if _, err := o.loader().Parse(o.File, []byte(draft.Draft{Build: o.Build}.String())); err != nil {
				return usage.Errorf("%s is neither in the folder of %s nor in one checkout with it, and a scenario leads nowhere else: write it there, with --output %s",
					image, o.File, show.Shell(filepath.Join(image, defaultScenario)))
			}
		}
	}
	if o.Payload == "" {
		return nil
	}
	path, err := filepath.Abs(o.Payload)
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err != nil {
		return usage.Errorf("--file: %w", err)
	} else if !info.Mode().IsRegular() {
		return usage.Errorf("--file %s: that is no file", o.Payload)
	}
	if o.Payload, err = filepath.Rel(home, path); err != nil || !filepath.IsLocal(o.Payload) {
		o.Payload, o.copy = path, filepath.Join(home, filepath.Base(path))
		if same, err := sameContent(path, o.copy); err != nil {
			return usage.Errorf("--file: %w", err)
		} else if !same {
			return usage.Errorf("--file %s has to be in the folder of %s, and another file of its name is there: name one that is in it, or another --output", path, o.File)
		}
	}
	return nil
}

// sameContent reports whether a copy is there already, or nothing.
func sameContent(file, copied string) (bool, error) {
	there, err := os.ReadFile(copied)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	content, err := os.ReadFile(file)
	return bytes.Equal(there, content), err
}

const exampleDockerfile = `  FROM python:3
  WORKDIR /app
  COPY . .
  RUN pip install flask gunicorn
  CMD ["gunicorn", "--bind=0.0.0.0:8000", "app:app"]
`

// loader reads the scenario that is written, whose payload may not have been copied yet.
func (o *draftOptions) loader() scenarios.Loader {
	l := scenarios.Loader{Env: o.given, Figures: results.Vocabulary(), Servers: servers.Known()}
	if o.copy != "" {
		l.Allow = []string{filepath.Dir(o.Payload)}
	}
	return l
}

// write writes the scenario, and beside it the payload if that is not in its folder. It
// returns what it wrote.
func (o *draftOptions) write(d draft.Draft) (wrote string, err error) {
	wrote = o.File
	if o.copy != "" {
		content, err := os.ReadFile(o.Payload)
		if err != nil {
			return "", err
		}
		d.Payload = filepath.Base(o.copy)
		wrote += ", and beside it " + d.Payload
		if err := os.WriteFile(o.copy, content, 0o644); err != nil {
			return "", err
		}
	}
	return wrote, files.Replace(o.File, func(w io.Writer) error {
		_, err := io.WriteString(w, d.String())
		return err
	})
}

// names are the flags that give a later command the operator's variables.
func (o *draftOptions) names() (flags []string) {
	for _, name := range slices.Sorted(maps.Keys(o.given)) {
		flags = append(flags, "--env", name)
	}
	return flags
}

func (a *app) tryCommand() *cobra.Command {
	var o draftOptions
	var run runOptions
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "try IMAGE|DIR",
		Short: "From an image, or a folder with a Dockerfile, to a decision in one command",
		Long: `try finds out how an app is served: its callable from the image's command and files,
the servers that the image has, where it listens, what says that it is ready, and what it
answers. It says what it found, each with the flag that overrides it. It measures for a
moment how many clients are worth sending, writes a complete scenario, service.yaml, and
measures it.

What labels of the image say (stackmeter.path=/predict) counts before what is found, and
a flag before both. Labels are known for ` + strings.Join(discover.LabelNames(), ", ") + `.
The image needs python3 for its files to be looked at. Where no server that stackmeter
knows serves the app, the image's own command is measured: alone, and behind nginx.`,
		Example: `  stackmeter try shop/classifier:1.2 --file photo.jpg --field file --under gpu_peak=5GiB
  stackmeter try ./service --json '{"text": "hello"}' --time 10m
  stackmeter try shop/api:3 --asgi main:app --path /items --env MODEL=small --env API_TOKEN`,
		Args: usage.Arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.try(cmd.Context(), o, run, limit, args[0])
		},
	}
	o.flags(cmd)
	storeFlag(cmd, &run.db)
	usage.TimeFlag(cmd, &limit, "time", 15*time.Minute, "how long measuring may take, about, `TIME`")
	waitFlag(cmd, &run.wait)
	gpuFlags(cmd, &run.gpu)
	cmd.Flags().StringVar(&run.progress, "progress", console.ProgressAuto, "how to show progress on standard error: auto, plain, json or none")
	return cmd
}

func (a *app) try(ctx context.Context, o draftOptions, run runOptions, limit time.Duration, image string) error {
	if err := o.check(image); err != nil {
		return err
	}
	// What the run at the end would refuse is refused before the app is started.
	if _, err := a.stderr.NewProgress(run.progress); err != nil {
		return err
	}
	if err := checkPlace(run.db); err != nil {
		return err
	}
	run.scenario, run.runtime.Name = o.File, runtimes.Names[0]
	run.gpu.sampler, run.gpu.wait = samplerOn, orchestrator.DefaultGPUWait
	run.plan = scenarioOptions{cells: scenarios.DefaultMaxCells, env: slices.Sorted(maps.Keys(o.given))}
	var content []byte
	if o.Payload != "" {
		var err error
		if content, err = os.ReadFile(filepath.Join(filepath.Dir(o.File), o.Payload)); o.copy != "" {
			content, err = os.ReadFile(o.Payload)
		}
		if err != nil {
			return usage.Errorf("--file: %w", err)
		}
	}
	d, err := a.propose(ctx, o, run, limit, content)
	if err != nil {
		return err
	}
	wrote, err := o.write(d)
	if err != nil {
		return err
	}
	allowed := units.Seconds.Format(limit.Seconds())
	fmt.Fprintf(a.stderr, "stackmeter: wrote %s; now, as every time: %s\n", wrote, show.Command(append([]string{"stackmeter", "search", o.File, "--time", allowed}, o.names()...)...))
	if run.plan.search, err = (searchOptions{time: allowed}).settings(); err != nil {
		return err
	}
	return a.run(ctx, run)
}

// propose looks at the app under the machine's lock, and leaves nothing behind.
func (a *app) propose(ctx context.Context, o draftOptions, run runOptions, limit time.Duration, content []byte) (d draft.Draft, err error) {
	engine, err := run.runtime.Open()
	if err != nil {
		return d, err
	}
	defer engine.Close()
	id := newRunID(time.Now())
	ctx, release := a.removing(ctx, engine, id)
	defer release()
	defer func() { err = bySignal(ctx, err) }()
	if err := engine.Check(ctx); err != nil {
		return d, err
	}
	gpus, err := machine.OpenGPUs(ctx, run.gpu.nvmlFile, false)
	if err != nil {
		return d, err
	}
	defer gpus.Close()
	engine.Has(gpus.Given(), gpus.Reason)
	locks, err := machine.Lock(ctx, a.stderr, id, "try", nil, run.wait)
	if err != nil {
		return d, err
	}
	defer locks.Release()
	looker, is := engine.(discover.Runtime)
	if !is {
		return d, fmt.Errorf("the runtime %s has no images to look at", run.runtime.Name)
	}
	p := propose.Proposer{
		Runtime: looker, Run: id, Loader: o.loader(), Cores: runtime.NumCPU(), Time: limit,
		Tell: func(what, found, flag string) {
			a.stderr.Item(what, fmt.Sprintf("%s  (%s)", show.Line(found), flag))
		},
		Doing: func(text string) { fmt.Fprintln(a.stderr, show.Line(text)) },
	}
	return p.Propose(ctx, o.Draft, content)
}

func (a *app) initCommand() *cobra.Command {
	var o draftOptions
	cmd := &cobra.Command{
		Use:   "init [IMAGE|DIR]",
		Short: "Write a complete, commented scenario, and measure nothing",
		Long: `init writes a scenario file of an app of one's own, with a comment for what one may want
to change. What the flags do not say is asked for in a terminal; elsewhere it is what is
usual, and init says what that is. try finds it out instead.`,
		Example: `  stackmeter init
  stackmeter init shop/classifier:1.2 --wsgi wsgi:app --port 5000 --ready /healthz --path /predict --file photo.jpg --field file`,
		Args: usage.Arguments(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := o.check(strings.Join(args, "")); err != nil {
				return err
			}
			if a.asks() {
				if err := draft.Ask(a.stdin, a.stderr, &o.Draft); err != nil {
					return usage.Error(err)
				}
			}
			if _, err := o.loader().Parse(o.File, []byte(o.Draft.String())); err != nil {
				return usage.Error(err)
			}
			wrote, err := o.write(o.Draft)
			if err != nil {
				return err
			}
			next := append([]string{"stackmeter", "check", o.File}, o.names()...)
			fmt.Fprintf(a.stderr, "stackmeter: wrote %s: %s\nstackmeter: next: %s\n", wrote, show.Line(o.Draft.WithDefaults().Summary()), show.Command(next...))
			return nil
		},
	}
	o.flags(cmd)
	return cmd
}

// asks reports whether there is somebody to ask.
func (a *app) asks() bool {
	f, is := a.stdin.(*os.File)
	return is && term.IsTerminal(int(f.Fd())) && a.stderr.Terminal()
}

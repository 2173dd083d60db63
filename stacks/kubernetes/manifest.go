package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/robfig/cron/v3"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// An Orchestrator is stackmeter in a cluster: a Job that runs a scenario, or a CronJob
// that does so again and again. Its Pod is killed and made again elsewhere without loss:
// the run is in a database, and goes on there.
type Orchestrator struct {
	Name      string // of all its objects
	Namespace string // theirs and the stacks'
	Image     string // the agents', which has stackmeter in it
	Schedule  string // of a CronJob; empty: a Job
	Secret    string // has the address of the store under SecretKey
	Variable  string // of the environment, which gets that address
	Locks     string // that variable has the folder of locks, which is one of its own

	Files map[string][]byte // by their path below Folder
	Args  []string          // of stackmeter; JobName in them stands for the name of the Job
}

const (
	// SecretKey is the key in the Secret with the address of the store.
	SecretKey = "url"

	// JobName is replaced, in an argument, by the name of the Job that its Pod is of: each
	// night of a CronJob has another.
	JobName = "$(JOB_NAME)"

	// Folder is where an orchestrator finds its files.
	Folder = "/scenario"

	// mostName is how long the name of a CronJob may be, which a Job's adds a time to.
	mostName = 52

	// mostFiles is how many bytes of files one ConfigMap gets: the API server takes a
	// mebibyte, and the names are in it, too.
	mostFiles = 900 << 10

	// orchestratorGrace is for the removal of its stacks, in seconds.
	orchestratorGrace int64 = 120

	// orchestratorTries is how often its Pod is made again: of a run of a night, nodes are
	// not lost more often.
	orchestratorTries int32 = 20
)

// failures are the exit statuses of stackmeter after which it is not started again: the
// run has ended, or cannot begin.
func failures() []int32 { return []int32{1, 2, 4} }

// Manifest returns the objects of an orchestrator as YAML, one document for each, for
// kubectl apply.
func (o Orchestrator) Manifest() ([]byte, error) {
	if wrong := validation.IsDNS1123Label(o.Name); len(wrong) > 0 || len(o.Name) > mostName {
		return nil, fmt.Errorf("name %q: %s", o.Name, strings.Join(append(wrong, fmt.Sprintf("of at most %d characters", mostName)), ", "))
	}
	if wrong := validation.IsDNS1123Label(o.Namespace); len(wrong) > 0 {
		return nil, fmt.Errorf("namespace %q: %s", o.Namespace, strings.Join(wrong, ", "))
	}
	if wrong := validation.IsDNS1123Subdomain(o.Secret); len(wrong) > 0 {
		return nil, fmt.Errorf("db-secret %q: %s", o.Secret, strings.Join(wrong, ", "))
	}
	if _, err := cron.ParseStandard(o.Schedule); o.Schedule != "" && err != nil {
		return nil, fmt.Errorf("schedule %q: %w; write minute, hour, day of the month, month and day of the week, as in \"0 2 * * *\"", o.Schedule, err)
	}
	maps, volume, err := o.configMaps()
	if err != nil {
		return nil, err
	}
	here, everywhere := o.meta(), o.meta()
	everywhere.Namespace, everywhere.Name = "", o.Namespace+"-"+o.Name
	self := []rbac.Subject{{Kind: rbac.ServiceAccountKind, Name: o.Name, Namespace: o.Namespace}}
	no := false
	objects := []any{
		&core.ServiceAccount{TypeMeta: typed("v1", "ServiceAccount"), ObjectMeta: here, AutomountServiceAccountToken: &no},
		&rbac.Role{TypeMeta: typed(rbac.SchemeGroupVersion.String(), "Role"), ObjectMeta: here, Rules: rules(false)},
		&rbac.RoleBinding{TypeMeta: typed(rbac.SchemeGroupVersion.String(), "RoleBinding"), ObjectMeta: here, Subjects: self,
			RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: o.Name}},
		&rbac.ClusterRole{TypeMeta: typed(rbac.SchemeGroupVersion.String(), "ClusterRole"), ObjectMeta: everywhere, Rules: rules(true)},
		&rbac.ClusterRoleBinding{TypeMeta: typed(rbac.SchemeGroupVersion.String(), "ClusterRoleBinding"), ObjectMeta: everywhere, Subjects: self,
			RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: everywhere.Name}},
	}
	for _, one := range maps {
		objects = append(objects, one)
	}
	job := o.job(volume)
	if o.Schedule == "" {
		objects = append(objects, &batch.Job{TypeMeta: typed(batch.SchemeGroupVersion.String(), "Job"), ObjectMeta: here, Spec: job})
	} else {
		objects = append(objects, &batch.CronJob{TypeMeta: typed(batch.SchemeGroupVersion.String(), "CronJob"), ObjectMeta: here, Spec: batch.CronJobSpec{
			Schedule: o.Schedule, ConcurrencyPolicy: batch.ForbidConcurrent, JobTemplate: batch.JobTemplateSpec{ObjectMeta: meta.ObjectMeta{Labels: here.Labels}, Spec: job},
		}})
	}
	var documents []string
	for _, one := range objects {
		text, err := document(one)
		if err != nil {
			return nil, err
		}
		if _, is := one.(*rbac.ClusterRole); is {
			text = "# Without this and its binding it works, too, and says less: which nodes have GPUs,\n" +
				"# whose Pods have what it waits for, and that a node is lost.\n" + text
		}
		documents = append(documents, text)
	}
	return []byte(strings.Join(documents, "---\n")), nil
}

// meta is that of each object in the namespace.
func (o Orchestrator) meta() meta.ObjectMeta {
	return meta.ObjectMeta{Name: o.Name, Namespace: o.Namespace, Labels: map[string]string{"app.kubernetes.io/name": "stackmeter", "app.kubernetes.io/instance": o.Name}}
}

func typed(version, kind string) meta.TypeMeta { return meta.TypeMeta{APIVersion: version, Kind: kind} }

// configMaps are the files, in as many ConfigMaps as it takes, and the volume in which
// they are together.
func (o Orchestrator) configMaps() (all []*core.ConfigMap, volume core.VolumeSource, err error) {
	var sources []core.VolumeProjection
	room := 0
	for i, name := range slices.Sorted(maps.Keys(o.Files)) {
		content := o.Files[name]
		if len(content) > mostFiles {
			return nil, volume, fmt.Errorf("file %s has %d bytes, and a ConfigMap takes %d: let the request be generated, or smaller", name, len(content), mostFiles)
		}
		if path.Clean(name) != name || path.IsAbs(name) || strings.HasPrefix(name, "..") {
			return nil, volume, fmt.Errorf("file %s is not below the folder of the scenario", name)
		}
		if room -= len(content); len(all) == 0 || room < 0 {
			at := o.meta()
			at.Name = fmt.Sprintf("%s-%d", o.Name, len(all)+1)
			all = append(all, &core.ConfigMap{TypeMeta: typed("v1", "ConfigMap"), ObjectMeta: at, Data: map[string]string{}, BinaryData: map[string][]byte{}})
			sources = append(sources, core.VolumeProjection{ConfigMap: &core.ConfigMapProjection{LocalObjectReference: core.LocalObjectReference{Name: at.Name}}})
			room = mostFiles - len(content)
		}
		last, key := len(all)-1, fmt.Sprintf("file-%d", i+1)
		if utf8.Valid(content) {
			all[last].Data[key] = string(content)
		} else {
			all[last].BinaryData[key] = content
		}
		sources[last].ConfigMap.Items = append(sources[last].ConfigMap.Items, core.KeyToPath{Key: key, Path: name})
	}
	if len(all) == 0 {
		return nil, volume, errors.New("an orchestrator without a scenario")
	}
	return all, core.VolumeSource{Projected: &core.ProjectedVolumeSource{Sources: sources}}, nil
}

// job is one run. Its Pod is made again when something has ended it, and not when
// stackmeter has ended by itself.
func (o Orchestrator) job(files core.VolumeSource) batch.JobSpec {
	no, yes, nobody, grace, tries, failed := false, true, agentUser, orchestratorGrace, orchestratorTries, batch.Failed
	var args []string
	for _, one := range o.Args {
		parts := strings.Split(one, JobName)
		args = append(args, strings.Join(literals(parts), JobName))
	}
	field := func(path string) *core.EnvVarSource {
		return &core.EnvVarSource{FieldRef: &core.ObjectFieldSelector{FieldPath: path}}
	}
	return batch.JobSpec{
		BackoffLimit: &tries, PodReplacementPolicy: &failed, // never two at once
		PodFailurePolicy: &batch.PodFailurePolicy{Rules: []batch.PodFailurePolicyRule{
			{Action: batch.PodFailurePolicyActionIgnore, OnPodConditions: []batch.PodFailurePolicyOnPodConditionsPattern{{Type: core.DisruptionTarget, Status: core.ConditionTrue}}},
			{Action: batch.PodFailurePolicyActionFailJob, OnExitCodes: &batch.PodFailurePolicyOnExitCodesRequirement{Operator: batch.PodFailurePolicyOnExitCodesOpIn, Values: failures()}},
		}},
		Template: core.PodTemplateSpec{ObjectMeta: meta.ObjectMeta{Labels: o.meta().Labels}, Spec: core.PodSpec{
			RestartPolicy: core.RestartPolicyNever, TerminationGracePeriodSeconds: &grace,
			ServiceAccountName: o.Name, AutomountServiceAccountToken: &yes, EnableServiceLinks: &no,
			SecurityContext: &core.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &nobody, RunAsGroup: &nobody, SeccompProfile: &core.SeccompProfile{Type: core.SeccompProfileTypeRuntimeDefault}},
			Containers: []core.Container{{
				Name: agentName, Image: o.Image, ImagePullPolicy: core.PullIfNotPresent, Command: []string{"stackmeter"}, Args: args, WorkingDir: "/tmp",
				Env: []core.EnvVar{
					{Name: strings.Trim(JobName, "$()"), ValueFrom: field("metadata.labels['" + batch.JobNameLabel + "']")},
					{Name: o.Variable, ValueFrom: &core.EnvVarSource{SecretKeyRef: &core.SecretKeySelector{LocalObjectReference: core.LocalObjectReference{Name: o.Secret}, Key: SecretKey}}},
					{Name: o.Locks, Value: "/tmp"}, // the machine is none of its business
					{Name: "HOME", Value: "/tmp"},
					{Name: visibleGPUs, Value: "void"},
				},
				Resources:       core.ResourceRequirements{Requests: core.ResourceList{core.ResourceCPU: resource.MustParse("100m"), core.ResourceMemory: resource.MustParse("256Mi")}},
				SecurityContext: &core.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &core.Capabilities{Drop: []core.Capability{"ALL"}}},
				VolumeMounts:    []core.VolumeMount{{Name: "scenario", MountPath: Folder, ReadOnly: true}, {Name: "tmp", MountPath: "/tmp"}},
			}},
			Volumes: []core.Volume{{Name: "scenario", VolumeSource: files}, {Name: "tmp", VolumeSource: core.VolumeSource{EmptyDir: &core.EmptyDirVolumeSource{}}}},
		}},
	}
}

// document is an object as YAML, without what only the cluster fills in.
func document(object any) (string, error) {
	text, err := json.Marshal(object)
	var fields map[string]any
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		return "", err
	}
	delete(fields, "status")
	out, err := yaml.Marshal(fields)
	return string(out), err
}

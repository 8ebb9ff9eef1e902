// Command podsecurity reads Kubernetes objects as YAML from its standard input, and judges all that runs pods by Pod
// Security's level "restricted", as the API server does where a namespace enforces it. It ends with 1 where one does not keep to it.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// Where an object may have a pod: in itself, as a template, or as a CronJob's.
type object struct {
	Kind     string            `json:"kind"`
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Template    *corev1.PodTemplateSpec `json:"template"`
		JobTemplate struct {
			Spec struct {
				Template *corev1.PodTemplateSpec `json:"template"`
			} `json:"spec"`
		} `json:"jobTemplate"`
	} `json:"spec"`
}

func pod(document []byte) (name string, found *corev1.PodTemplateSpec, err error) {
	var one object
	// A pod's spec has no template; what is no object at all has no kind.
	if err := yaml.Unmarshal(document, &one); err != nil {
		return "", nil, err
	}
	name = one.Kind + " " + one.Metadata.Name
	switch {
	case one.Kind == "Pod":
		var whole corev1.Pod
		err = yaml.Unmarshal(document, &whole)
		return name, &corev1.PodTemplateSpec{ObjectMeta: whole.ObjectMeta, Spec: whole.Spec}, err
	case one.Kind == "CronJob":
		return name, one.Spec.JobTemplate.Spec.Template, nil
	}
	return name, one.Spec.Template, nil
}

func run() (int, error) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		return 0, err
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(os.Stdin))
	judged, refused := 0, 0
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			fmt.Printf("%d pods, %d violate Pod Security \"restricted\"\n", judged, refused)
			return refused, nil
		}
		if err != nil {
			return 0, err
		}
		name, found, err := pod(document)
		if err != nil {
			return 0, err
		}
		if found == nil {
			continue
		}
		judged++
		if result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &found.ObjectMeta, &found.Spec)); !result.Allowed {
			refused++
			fmt.Printf("%s: %s\n", name, result.ForbiddenDetail())
		}
	}
}

func main() {
	refused, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if refused > 0 {
		os.Exit(1)
	}
}

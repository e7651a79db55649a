package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/test/drill"
)

// cluster is a platform that runs in a namespace.
type cluster struct {
	namespace, image string
	all              []observed
}

// replicas are the pods of one service, looked at through the API server.
type replicas struct {
	cluster cluster
	name    string
	pods    []string
}

// startCluster finds the pods.
func startCluster(ctx context.Context, c cluster) (*cluster, error) {
	for _, name := range local.Databases { // the sandbox has no metrics
		pods, err := c.kubectl(ctx, "", "get", "pods", "-l", "app.kubernetes.io/name="+name,
			"--field-selector=status.phase=Running", "-o", "jsonpath={.items[*].metadata.name}")
		if err != nil {
			return nil, err
		}
		r := replicas{cluster: c, name: name, pods: strings.Fields(pods)}
		r.pods = slices.DeleteFunc(r.pods, func(pod string) bool { return strings.Contains(pod, "-migrate-") })
		if len(r.pods) == 0 {
			return nil, fmt.Errorf("no pod of %s runs in the namespace %s", name, c.namespace)
		}
		c.all = append(c.all, r)
	}
	return &c, nil
}

func (c *cluster) services() []observed { return c.all }

// orders is not reachable: the addresses of a cluster stay in it.
func (c *cluster) orders() (service, bool) { return service{}, false }

func (c *cluster) stop() error { return nil }

// visit runs the load in a pod, and gets its verdict from there.
func (c *cluster) visit(ctx context.Context, rate float64, length time.Duration) (*drill.Verdict, error) {
	const name = "profile"
	pod := fmt.Sprintf(loadPod, name, c.image, rate)
	if _, err := c.kubectl(ctx, pod, "apply", "-f", "-"); err != nil {
		return nil, err
	}
	defer func() { // also when ctx has ended
		_, _ = c.kubectl(context.WithoutCancel(ctx), "", "delete", "pod", name, "--ignore-not-found", "--grace-period=0", "--force")
	}()
	if _, err := c.kubectl(ctx, "", "wait", "pod", name, "--for=condition=Ready", "--timeout=2m"); err != nil {
		return nil, err
	}
	if err := sleep(ctx, length); err != nil {
		return nil, err
	}
	answer, err := c.kubectl(ctx, "", "exec", name, "--", "/holdfast", "load", "stop")
	if err != nil {
		return nil, err
	}
	var verdict drill.Verdict
	if err := json.Unmarshal([]byte(answer), &verdict); err != nil {
		return nil, fmt.Errorf("the load's verdict: %w: %s", err, answer)
	}
	return &verdict, nil
}

// loadPod is a pod that puts load on orders until it is told to stop.
const loadPod = `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, labels: {app.kubernetes.io/name: load, app.kubernetes.io/part-of: holdfast}}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: load
    image: %[2]s
    args: [load, --grpc=orders:9090, --http=orders:8080, --rate=%[3]g, --watches=0]
    resources:
      requests: {cpu: 250m, memory: 256Mi, ephemeral-storage: 64Mi}
      limits: {memory: 256Mi, ephemeral-storage: 64Mi}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
`

// kubectl returns what it prints.
func (c *cluster) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, "kubectl", append([]string{"--namespace", c.namespace}, args...)...)
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// String is the service's name, and how many replicas of it are looked at.
func (r replicas) String() string { return fmt.Sprintf("%s ×%d", r.name, len(r.pods)) }

// usage adds up CPU over all replicas, and takes the largest of everything else.
func (r replicas) usage(ctx context.Context) (usage, error) {
	var all usage
	for _, pod := range r.pods {
		path := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8081/proxy/metrics", r.cluster.namespace, pod)
		text, err := r.cluster.kubectl(ctx, "", "get", "--raw", path)
		if err != nil {
			return usage{}, err
		}
		metrics, err := parseMetrics(strings.NewReader(text))
		if err != nil {
			return usage{}, fmt.Errorf("the metrics of %s: %w", pod, err)
		}
		all.cpu += time.Duration(metrics["process_cpu_seconds_total"] * float64(time.Second))
		all.resident = max(all.resident, int64(metrics["process_resident_memory_bytes"]))
		all.heap = max(all.heap, int64(metrics["go_memstats_heap_inuse_bytes"]))
		all.goroutines = max(all.goroutines, int64(metrics["go_goroutines"]))
	}
	return all, nil
}

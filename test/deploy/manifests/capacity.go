package manifests

import (
	"fmt"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// reservedConnections are those that no pool may take: three that Postgres keeps
// for a superuser, and some for people and their tools.
const reservedConnections = 10

// maxConnectionsAnnotation is how production says what its server allows.
const maxConnectionsAnnotation = "holdfast.dev/database-max-connections"

// findCrowdedDatabase adds up what all pods there can be at once may hold. It
// counts every service, since they may share a server, and both colours.
func findCrowdedDatabase(objects Objects) []string {
	migration, err := migrationPool()
	if err != nil {
		return []string{err.Error()}
	}
	allowed, err := maxConnections(objects)
	if err != nil {
		return []string{err.Error()}
	}
	need, terms := reservedConnections, []string{fmt.Sprintf("%d reserved", reservedConnections)}
	for _, w := range workloads(objects) {
		if w.service() == "" || w.service() == "sandbox" {
			continue
		}
		pool := migration
		if _, ok := w.object.(*appsv1.Deployment); ok {
			s, err := w.settings(objects)
			if err != nil {
				return []string{err.Error()}
			}
			if pool, err = strconv.Atoi(s.value("HOLDFAST_DATABASE_MAX_CONNS")); err != nil {
				return []string{fmt.Sprintf("%s: HOLDFAST_DATABASE_MAX_CONNS: %v", w.name, err)}
			}
		}
		pods := w.mostPods(objects)
		need += pods * pool
		terms = append(terms, fmt.Sprintf("%s %d x %d", w.name, pods, pool))
	}
	if need > allowed {
		return []string{fmt.Sprintf("pools may hold %d connections of %d: %s", need, allowed, strings.Join(terms, ", "))}
	}
	return nil
}

// maxConnections is what the server in the manifests is told, or else what
// production says of its own.
func maxConnections(objects Objects) (int, error) {
	if postgres := named[*appsv1.StatefulSet](objects, "postgres"); postgres != nil {
		for _, arg := range postgres.Spec.Template.Spec.Containers[0].Args {
			if value, ok := strings.CutPrefix(arg, "max_connections="); ok {
				return strconv.Atoi(value)
			}
		}
		return 0, fmt.Errorf("StatefulSet postgres: max_connections is not set")
	}
	namespace := named[*corev1.Namespace](objects, Namespace)
	if namespace == nil || namespace.Annotations[maxConnectionsAnnotation] == "" {
		return 0, fmt.Errorf("no Postgres, and no annotation %s on the namespace", maxConnectionsAnnotation)
	}
	return strconv.Atoi(namespace.Annotations[maxConnectionsAnnotation])
}

// findMissingResources wants memory and ephemeral storage that are limited to
// what is requested, and a request for CPU. A limit on CPU is allowed only as
// high as the request, which is the choice of the Guaranteed class.
func findMissingResources(objects Objects) []string {
	var found problems
	for _, w := range workloads(objects) {
		for _, c := range w.template.Spec.Containers {
			for _, name := range []corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
				request, limit := c.Resources.Requests[name], c.Resources.Limits[name]
				found.check(!request.IsZero() && request.Cmp(limit) == 0, "%s: container %s requests %s of %s and is limited to %s; they should be one",
					w.name, c.Name, request.String(), name, limit.String())
			}
			request, limit := c.Resources.Requests[corev1.ResourceCPU], c.Resources.Limits[corev1.ResourceCPU]
			found.check(!request.IsZero(), "%s: container %s requests no CPU", w.name, c.Name)
			found.check(limit.IsZero() || limit.Cmp(request) == 0, "%s: container %s is throttled at %s CPU and was promised %s", w.name, c.Name, limit.String(), request.String())
		}
		found = append(found, findFullVolumes(w)...)
	}
	return found
}

// findFullVolumes wants the storage of a pod to have room for what its volumes
// may hold.
func findFullVolumes(w workload) []string {
	var found problems
	var volumes, limits resource.Quantity
	for _, v := range w.template.Spec.Volumes {
		if v.EmptyDir == nil {
			continue
		}
		if v.EmptyDir.SizeLimit == nil {
			found.add("%s: volume %s may fill the node", w.name, v.Name)
			continue
		}
		volumes.Add(*v.EmptyDir.SizeLimit)
	}
	for _, c := range w.template.Spec.Containers {
		limits.Add(c.Resources.Limits[corev1.ResourceEphemeralStorage])
	}
	found.check(volumes.Cmp(limits) <= 0, "%s: volumes may hold %s, and the pod is evicted at %s", w.name, volumes.String(), limits.String())
	return found
}

// findQuotaTrouble wants a LimitRange that every container satisfies and a
// ResourceQuota that has room for all pods there can be at once.
func findQuotaTrouble(objects Objects) []string {
	ranges, quotas := all[*corev1.LimitRange](objects), all[*corev1.ResourceQuota](objects)
	if len(ranges) != 1 || len(quotas) != 1 {
		return []string{fmt.Sprintf("%d LimitRanges and %d ResourceQuotas, want one each", len(ranges), len(quotas))}
	}
	var found problems
	for _, w := range workloads(objects) {
		for _, c := range w.template.Spec.Containers {
			for _, limit := range ranges[0].Spec.Limits {
				found = append(found, findOutOfRange(w, c, limit)...)
			}
		}
	}
	used := quotaUse(objects)
	for name, hard := range quotas[0].Spec.Hard {
		use, counted := used[name]
		found.check(counted, "ResourceQuota: nobody counts %s", name)
		found.check(use.Cmp(hard) <= 0, "ResourceQuota: everything at its most needs %s of %s, and %s is allowed", use.String(), name, hard.String())
	}
	return found
}

func findOutOfRange(w workload, c corev1.Container, limit corev1.LimitRangeItem) []string {
	var found problems
	if limit.Type != corev1.LimitTypeContainer {
		return nil
	}
	_, defaults := limit.Default[corev1.ResourceCPU]
	_, maximum := limit.Max[corev1.ResourceCPU]
	found.check(!defaults && !maximum, "LimitRange: it gives every container a CPU limit")
	for name, least := range limit.Min {
		request := c.Resources.Requests[name]
		found.check(request.Cmp(least) >= 0, "%s: container %s requests %s of %s, less than the %s of the LimitRange", w.name, c.Name, request.String(), name, least.String())
	}
	for name, most := range limit.Max {
		ceiling := c.Resources.Limits[name]
		found.check(ceiling.Cmp(most) <= 0, "%s: container %s may use %s of %s, more than the %s of the LimitRange", w.name, c.Name, ceiling.String(), name, most.String())
	}
	return found
}

// quotaUse is what all pods together ask for, under the names of a quota.
func quotaUse(objects Objects) corev1.ResourceList {
	use := corev1.ResourceList{}
	add := func(name corev1.ResourceName, amount resource.Quantity, times int) {
		sum := use[name]
		for range times {
			sum.Add(amount)
		}
		use[name] = sum
	}
	for _, w := range workloads(objects) {
		pods := w.mostPods(objects)
		add(corev1.ResourcePods, resource.MustParse("1"), pods)
		for _, c := range w.template.Spec.Containers {
			for name, amount := range c.Resources.Requests {
				add("requests."+name, amount, pods)
			}
			for name, amount := range c.Resources.Limits {
				add("limits."+name, amount, pods)
			}
		}
	}
	return use
}

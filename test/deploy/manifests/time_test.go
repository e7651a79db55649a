package manifests

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var timeControls = map[string][]control{
	"a pod is given the time its shutdown takes": {
		{mistake: "the default grace", make: func(o Objects) { podOf(o, "orders").TerminationGracePeriodSeconds = nil }, problem: "may take 45s, and the pod is killed after 30s"},
		{mistake: "a second too little", make: func(o Objects) { podOf(o, "payments").TerminationGracePeriodSeconds = pointer(int64(44)) }, problem: "killed after 44s"},
		{mistake: "a longer drain by setting", make: func(o Objects) { config(o, "orders-config").Data["HOLDFAST_DRAIN_CAP"] = "30s" }, problem: "may take 55s"},
		{mistake: "generations that are given no time", make: func(o Objects) { podOf(o, "llm-gateway").TerminationGracePeriodSeconds = pointer(int64(45)) }, problem: "Deployment llm-gateway: a shutdown may take 5m25s, and the pod is killed after 45s"},
		{mistake: "a longer preStop", make: func(o Objects) { containerOf(o, "orders").Lifecycle.PreStop.Sleep.Seconds = 15 }, problem: "may take 55s"},
		{mistake: "a sandbox that is cut off", make: func(o Objects) { podOf(o, "sandbox").TerminationGracePeriodSeconds = pointer(int64(30)) }, problem: "Deployment sandbox"},
		{mistake: "a setting that is no duration", make: func(o Objects) { config(o, "orders-config").Data["HOLDFAST_DRAIN_CAP"] = "20" }, problem: "missing unit"},
	},
	"what a model writes ends where it began": {
		{mistake: "the drain of the other services", make: func(o Objects) { config(o, "llm-gateway-config").Data["HOLDFAST_DRAIN_CAP"] = "20s" }, problem: "may take 5m0s, and is cut off after 20s"},
		{mistake: "one colour that is in a hurry", overlay: "blue-green", make: func(o Objects) {
			c := containerOf(o, "llm-gateway-green")
			c.Env = append(c.Env, corev1.EnvVar{Name: "HOLDFAST_DRAIN_CAP", Value: "1m"})
		}, problem: "Deployment llm-gateway-green: a generation"},
		{mistake: "a setting that is no duration", make: func(o Objects) { config(o, "llm-gateway-config").Data["HOLDFAST_DRAIN_CAP"] = "long" }, problem: "invalid duration"},
	},
	"traffic has time to go elsewhere before SIGTERM": {
		{mistake: "no hook", make: func(o Objects) { containerOf(o, "orders").Lifecycle = nil }, problem: "no preStop"},
		{mistake: "a command, where there is no shell", make: func(o Objects) {
			containerOf(o, "orders").Lifecycle.PreStop = &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sleep", "5"}}}
		}, problem: "not a native sleep"},
		{mistake: "too short", make: func(o Objects) { containerOf(o, "orders").Lifecycle.PreStop.Sleep.Seconds = 1 }, problem: "sleeps 1s"},
	},
	"probes ask what they are for, and in time": {
		{mistake: "no startup probe", make: func(o Objects) { containerOf(o, "orders").StartupProbe = nil }, problem: "no probe asks /startupz"},
		{mistake: "liveness that asks for readiness", make: func(o Objects) { containerOf(o, "orders").LivenessProbe.HTTPGet.Path = "/readyz" }, problem: "should ask /livez asks /readyz"},
		{mistake: "readiness that asks for liveness", make: func(o Objects) { containerOf(o, "orders").ReadinessProbe.HTTPGet.Path = "/livez" }, problem: "should ask /readyz asks /livez"},
		{mistake: "the port of the traffic", make: func(o Objects) { containerOf(o, "orders").LivenessProbe.HTTPGet.Port = intstr.FromString("http") }, problem: "asked on port http"},
		{mistake: "impatience with a start", make: func(o Objects) { containerOf(o, "orders").StartupProbe.FailureThreshold = 60 }, problem: "gives up after 1m0s, before the process does"},
		{mistake: "a process that waits longer by setting", make: func(o Objects) {
			config(o, "payments-config").Data["HOLDFAST_DATABASE_CONNECT_BOUND"] = "60s"
		}, problem: "may wait 1m0s twice"},
		{mistake: "less than three times the worst start", make: func(o Objects) {
			config(o, "orders-config").Data["HOLDFAST_DATABASE_CONNECT_BOUND"] = "1s"
			containerOf(o, "orders").StartupProbe.FailureThreshold = 30
		}, problem: "less than three times the worst start"},
		{mistake: "liveness as quick as readiness", make: func(o Objects) { containerOf(o, "orders").LivenessProbe.PeriodSeconds = 2 }, problem: "waited for 5 s"},
		{mistake: "liveness not much slower than readiness", make: func(o Objects) {
			p := containerOf(o, "orders").LivenessProbe
			p.PeriodSeconds, p.FailureThreshold = 5, 1
		}, problem: "traffic should be gone long before"},
		{mistake: "a release that is given up before its pods", make: func(o Objects) {
			deployment(o, "orders").Spec.ProgressDeadlineSeconds = pointer(int32(60))
		}, problem: "counts as failed after 1m0s"},
	},
}

// Package resources fits a process to what its container was given: the heap
// to the memory limit, and the number of threads that run Go to the CPU request.
//
// Memory. Without GOMEMLIMIT the garbage collector lets the heap grow to twice
// what is live, whatever the limit is, and the kernel kills the process
// (OOMKilled) over garbage. So GOMEMLIMIT is set to 90 % of the limit: the
// collector works harder as it comes near. The rest is for what it does not
// count: pages of the executable, and the kernel's memory for sockets. The
// limit is the smallest one on the way from the process's cgroup up to the root
// of what is mounted, because the kernel kills at whichever is reached first.
// It is read again every few seconds, because a pod can be resized in place.
//
// CPU. Go takes as many threads as the machine has CPUs, or as a CPU limit
// allows (since Go 1.25). A pod without a CPU limit on a machine of 64 CPUs so
// gets 64, and its garbage collector a quarter of them, although it may count
// on no more than its request. GOMAXPROCS is therefore made max(2, request in
// whole CPUs, rounded up): two, so that a collection never stands in the way of
// every request. A request, unlike a memory limit, cannot be read from the
// cgroup without guessing how the node has translated it into shares; the
// manifest hands it over in HOLDFAST_CPU_REQUEST, and a pod that is resized
// keeps the value it started with.
//
// Whoever sets GOMEMLIMIT or GOMAXPROCS is obeyed, and nothing here is done.
// That a limit cannot be read is logged, and never a reason not to start.
//
// Why this is not github.com/KimMachineGun/automemlimit (looked at: v1.0.1):
// it reads v1 and v2 right, and sets and refreshes the limit, but its files
// cannot be replaced by a test's (only the whole reading can), it does not say
// which file gave the limit, and nobody can wait for the end of its goroutine.
//
// Formats: cgroups(7), proc_pid_mountinfo(5), and the kernel's
// Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; for Go's
// side https://go.dev/doc/gc-guide#Memory_limit.
package resources

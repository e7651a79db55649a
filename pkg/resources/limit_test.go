package resources

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// tree is a file system of text files.
func tree(files map[string]string) fstest.MapFS {
	t := fstest.MapFS{}
	for name, content := range files {
		t[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return t
}

// What the kernel shows to a process, in the situations that matter.
const (
	mountsOfV2 = "23 1 0:22 / /proc rw,nosuid - proc proc rw\n" +
		"35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountsOfV1 = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n" +
		"32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n" +
		"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
	mountsOfHybrid = mountsOfV1 +
		"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
	// A container under v1 sees its own cgroup as the top, and is told its path
	// on the machine.
	mountsOfContainerV1 = "151 150 0:66 / /sys/fs/cgroup ro - tmpfs tmpfs rw,mode=755\n" +
		"155 151 0:32 /kubepods/pod7/c9 /sys/fs/cgroup/memory ro master:5 - cgroup cgroup rw,memory\n"

	noneV1 = "9223372036854771712\n"
)

func TestTheSmallestLimitOnTheWayUpCounts(t *testing.T) {
	none := Limit{}
	for name, c := range map[string]struct {
		files map[string]string
		want  Limit
	}{
		"v2, in a container of its own namespace": {
			map[string]string{
				"proc/self/mountinfo": mountsOfV2, "proc/self/cgroup": "0::/\n",
				"sys/fs/cgroup/memory.max": "268435456\n",
			},
			Limit{268435456, 2, "/sys/fs/cgroup/memory.max"},
		},
		"v2, nested: the parent's is smaller": {
			map[string]string{
				"proc/self/mountinfo": mountsOfV2, "proc/self/cgroup": "0::/pods/pod7/c9\n",
				"sys/fs/cgroup/pods/memory.max":         "max\n",
				"sys/fs/cgroup/pods/pod7/memory.max":    "100000000\n",
				"sys/fs/cgroup/pods/pod7/c9/memory.max": "200000000\n",
			},
			Limit{100000000, 2, "/sys/fs/cgroup/pods/pod7/memory.max"},
		},
		"v2, nested: its own is smaller": {
			map[string]string{
				"proc/self/mountinfo": mountsOfV2, "proc/self/cgroup": "0::/pods/pod7/c9\n",
				"sys/fs/cgroup/pods/pod7/memory.max":    "300000000\n",
				"sys/fs/cgroup/pods/pod7/c9/memory.max": "200000000\n",
			},
			Limit{200000000, 2, "/sys/fs/cgroup/pods/pod7/c9/memory.max"},
		},
		"v2, max all the way": {
			map[string]string{
				"proc/self/mountinfo": mountsOfV2, "proc/self/cgroup": "0::/pods/c9\n",
				"sys/fs/cgroup/pods/memory.max": "max\n", "sys/fs/cgroup/pods/c9/memory.max": "max\n",
			},
			none,
		},
		"v2, the root cgroup has no file": {
			map[string]string{"proc/self/mountinfo": mountsOfV2, "proc/self/cgroup": "0::/\n"},
			none,
		},
		"hybrid: memory is v1's": {
			map[string]string{
				"proc/self/mountinfo": mountsOfHybrid, "proc/self/cgroup": "4:memory:/app\n1:cpu:/\n0::/app\n",
				"sys/fs/cgroup/memory/app/memory.limit_in_bytes": "67108864\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes":     noneV1,
			},
			Limit{67108864, 1, "/sys/fs/cgroup/memory/app/memory.limit_in_bytes"},
		},
		"hybrid: memory is v2's": {
			map[string]string{
				"proc/self/mountinfo":                        mountsOfHybrid,
				"proc/self/cgroup":                           "1:cpu:/\n0::/app\n",
				"sys/fs/cgroup/unified/app/memory.max":       "67108864\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes": "1\n", // nobody of us is in there
			},
			Limit{67108864, 2, "/sys/fs/cgroup/unified/app/memory.max"},
		},
		"v1, in a container": {
			map[string]string{
				"proc/self/mountinfo": mountsOfContainerV1, "proc/self/cgroup": "4:cpuset,memory:/kubepods/pod7/c9\n0::/\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n",
				"sys/fs/cgroup/memory/memory.stat":           "cache 0\nhierarchical_memory_limit 67108864\ntotal_cache 0\n",
			},
			Limit{67108864, 1, "/sys/fs/cgroup/memory/memory.limit_in_bytes"},
		},
		"v1, the pod's limit cannot be seen but is told": {
			map[string]string{
				"proc/self/mountinfo": mountsOfContainerV1, "proc/self/cgroup": "4:memory:/kubepods/pod7/c9\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes": noneV1,
				"sys/fs/cgroup/memory/memory.stat":           "hierarchical_memory_limit 50000000\n",
			},
			Limit{50000000, 1, "/sys/fs/cgroup/memory/memory.stat"},
		},
		"v1, nested": {
			map[string]string{
				"proc/self/mountinfo": mountsOfV1, "proc/self/cgroup": "4:memory:/a/b\n",
				"sys/fs/cgroup/memory/a/memory.limit_in_bytes":   "30000000\n",
				"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "40000000\n",
			},
			Limit{30000000, 1, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes"},
		},
		"v1, no limit": {
			map[string]string{
				"proc/self/mountinfo": mountsOfV1, "proc/self/cgroup": "4:memory:/\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes": noneV1,
				"sys/fs/cgroup/memory/memory.stat":           "hierarchical_memory_limit 9223372036854771712\n",
			},
			none,
		},
		"a mount of another container's cgroup is not ours": {
			map[string]string{
				"proc/self/mountinfo": mountsOfContainerV1, "proc/self/cgroup": "4:memory:/kubepods/pod7/c90\n",
				"sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n",
			},
			none,
		},
		"a cgroup outside the namespace cannot be seen": {
			map[string]string{
				"proc/self/mountinfo": mountsOfV2, "proc/self/cgroup": "0::/../other\n",
				"sys/fs/cgroup/memory.max": "67108864\n", "sys/fs/other/memory.max": "1000\n",
			},
			none,
		},
		"a mount with a space in its name": {
			map[string]string{
				"proc/self/mountinfo": `35 24 0:30 / /my\040groups rw - cgroup2 cgroup2 rw` + "\n", "proc/self/cgroup": "0::/a:b\n",
				"my groups/a:b/memory.max": "67108864\n",
			},
			Limit{67108864, 2, "/my groups/a:b/memory.max"},
		},
		"no cgroups, as on other systems than Linux": {map[string]string{}, none},
	} {
		t.Run(name, func(t *testing.T) {
			limit, err := ReadMemoryLimit(tree(c.files))
			require.NoError(t, err)
			require.Equal(t, c.want, limit)
		})
	}
}

func TestWhatIsNotUnderstoodIsATypedErrorThatNamesItsFile(t *testing.T) {
	good := map[string]string{
		"proc/self/mountinfo": mountsOfV2, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "268435456\n",
	}
	v1 := map[string]string{
		"proc/self/mountinfo": mountsOfV1, "proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": noneV1,
	}
	for name, c := range map[string]struct {
		of         map[string]string
		file, text string
	}{
		"a word":                {good, "sys/fs/cgroup/memory.max", "plenty"},
		"nothing":               {good, "sys/fs/cgroup/memory.max", ""},
		"a negative number":     {good, "sys/fs/cgroup/memory.max", "-1"},
		"zero":                  {good, "sys/fs/cgroup/memory.max", "0"},
		"more than 64 bits":     {good, "sys/fs/cgroup/memory.max", "99999999999999999999"},
		"v2's word in v1":       {v1, "sys/fs/cgroup/memory/memory.limit_in_bytes", "max"},
		"a cgroup without path": {good, "proc/self/cgroup", "0:"},
		"a mount cut off":       {good, "proc/self/mountinfo", "35 24 0:30 / /sys/fs/cgroup rw"},
	} {
		t.Run(name, func(t *testing.T) {
			files := tree(c.of)
			_, err := ReadMemoryLimit(files)
			require.NoError(t, err, "it is understood until it is spoilt")

			files[c.file] = &fstest.MapFile{Data: []byte(c.text + "\n")}
			_, err = ReadMemoryLimit(files)
			var malformed *MalformedError
			require.ErrorAs(t, err, &malformed)
			require.Equal(t, &MalformedError{File: c.file, Text: c.text}, malformed)
		})
	}
}

func TestAFileThatMayNotBeReadIsAnError(t *testing.T) {
	_, err := ReadMemoryLimit(forbidden{})
	require.ErrorIs(t, err, fs.ErrPermission)
}

type forbidden struct{}

func (forbidden) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// TestThisMachineIsUnderstood reads what is really there, whatever that is.
func TestThisMachineIsUnderstood(t *testing.T) {
	limit, err := ReadMemoryLimit(os.DirFS("/"))
	require.NoError(t, err)
	t.Logf("limit here: %d bytes, from %s", limit.Bytes, limit)
}

func FuzzReadMemoryLimit(f *testing.F) {
	for _, text := range []string{"max", "268435456", "9223372036854771712", "-1", "0", ""} {
		f.Add(text, text, text)
	}
	f.Fuzz(func(t *testing.T, mounts, cgroup, limit string) {
		found, err := ReadMemoryLimit(tree(map[string]string{
			"proc/self/mountinfo": mountsOfV2 + mounts, "proc/self/cgroup": "0::/\n" + cgroup, "sys/fs/cgroup/memory.max": limit,
		}))
		if found.Bytes < 0 || (err != nil && found.Limited()) {
			t.Fatalf("%d, %v", found.Bytes, err)
		}
		var malformed *MalformedError
		if err != nil && !errors.As(err, &malformed) && !errors.Is(err, fs.ErrInvalid) {
			t.Fatalf("%v", err)
		}
	})
}

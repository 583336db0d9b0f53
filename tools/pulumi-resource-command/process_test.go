package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sleeping is a script with a child, and the file that names both.
func sleeping(t *testing.T, before string) (script, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "pids")
	return fmt.Sprintf("%s echo $$ >%s; sleep 60 & echo $! >>%s; wait", before, file, file), file
}

func pidsIn(t *testing.T, file string) []int {
	t.Helper()
	var pids []int
	eventually(t, 5*time.Second, "the command did not start", func() bool {
		text, _ := os.ReadFile(file)
		pids = nil
		for _, field := range strings.Fields(string(text)) {
			pid, _ := strconv.Atoi(field)
			pids = append(pids, pid)
		}
		return len(pids) == 2
	})
	t.Cleanup(func() { // leave nothing behind when a test fails
		for _, pid := range pids {
			if !gone(pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	return pids
}

func eventually(t *testing.T, limit time.Duration, complaint string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(complaint)
		}
	}
}

func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[0] == 'Z' || rest[0] == 'X'
}

func shell(script string) process { return process{args: []string{"/bin/sh", "-c", script}} }

func TestRunEndsTheWholeGroupWithItsContext(t *testing.T) {
	for name, before := range map[string]string{"obedient": "", "deaf": "trap '' TERM;"} {
		t.Run(name, func(t *testing.T) {
			script, file := sleeping(t, before)
			why := errors.New("enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- shell(script).run(ctx) }()
			pids := pidsIn(t, file)
			start := time.Now()
			cancel(why)
			if err := <-ended; !errors.Is(err, why) {
				t.Errorf("got %v, want the cause of the cancel", err)
			}
			if took := time.Since(start); took > killGrace+time.Second {
				t.Errorf("took %s", took)
			}
			for _, pid := range pids {
				eventually(t, 100*time.Millisecond, "a process is left", func() bool { return gone(pid) })
			}
		})
	}
}

func TestRunReportsAnInterruptThatTheCommandHides(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := shell("trap 'exit 0' TERM; sleep 60 & wait").run(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
}

func TestRunGoesOnWithoutAChildThatHoldsTheOutput(t *testing.T) {
	var out bytes.Buffer
	r := shell("sleep 60 & echo $!")
	r.stdout = &out
	start := time.Now()
	err := r.run(t.Context())
	took := time.Since(start)
	pid, _ := strconv.Atoi(strings.TrimSpace(out.String()))
	if gone(pid) {
		t.Error("the background process was ended")
	} else {
		_ = exec.Command("kill", strconv.Itoa(pid)).Run()
	}
	if !errors.Is(err, errOutputHeld) {
		t.Errorf("got %v, want errOutputHeld", err)
	}
	if took < outputGrace || took > outputGrace+2*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestRunDoesNotStartAfterTheEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ran")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCancelled)
	if err := shell("touch " + file).run(ctx); !errors.Is(err, errCancelled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the command ran")
	}
}

func TestRunDoesNotWaitForUnreadInput(t *testing.T) {
	input := strings.Repeat("x", 1<<20)
	r := shell("true")
	r.stdin = &input
	if err := r.run(t.Context()); err != nil {
		t.Error(err)
	}
}

func BenchmarkRunNothing(b *testing.B) {
	r := shell("true")
	for b.Loop() {
		if err := r.run(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

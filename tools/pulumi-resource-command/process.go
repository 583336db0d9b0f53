package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// How long a child in the background may hold the output of a command that
// has ended itself.
const outputGrace = 2 * time.Second

// process is a local command line to run in a group of its own.
type process struct {
	args   []string
	dir    string
	env    []string // added to our own environment
	stdin  *string
	stdout io.Writer
	stderr io.Writer
}

// errOutputHeld says that the command ended well, and a child kept its output.
var errOutputHeld = exec.ErrWaitDelay

// run returns when the command ended, and ends its group when ctx does.
func (r process) run(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	cmd := exec.Command(r.args[0], r.args[1:]...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), r.env...)
	if r.stdin != nil {
		cmd.Stdin = strings.NewReader(*r.stdin)
	}
	cmd.Stdout, cmd.Stderr = r.stdout, r.stderr
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	theWatcher.ready()
	if err := cmd.Start(); err != nil {
		return err
	}
	// The group's number: it stays taken as long as the group has a member.
	pgid := cmd.Process.Pid
	theWatcher.add(pgid)
	defer theWatcher.del(pgid)

	ended := make(chan struct{})
	interrupted := make(chan bool, 1)
	go func() {
		select {
		case <-ended:
			interrupted <- false
		case <-ctx.Done():
			endGroup(pgid)
			interrupted <- true
		}
	}()
	err := cmd.Wait()
	close(ended)
	if <-interrupted {
		// Whatever the exit code: a command may trap TERM and exit with 0.
		return context.Cause(ctx)
	}
	return err
}

package main

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
)

// failure explains why a command did not succeed. The script stays out of it:
// a message goes to logs, and scripts hold secrets at times.
func failure(verb string, err error, printed *capture) error {
	printed.mu.Lock()
	defer printed.mu.Unlock()
	text := printed.combined.String()
	if text == "" {
		return fmt.Errorf("%s failed: %w, and printed nothing", verb, explained(err))
	}
	return fmt.Errorf("%s failed: %w. It printed:\n%s", verb, explained(err), text)
}

// explained turns "exit status 3" of a process into words that also tell a
// signal from an exit.
func explained(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Errorf("the command was ended by signal %d (%s)", int(status.Signal()), status.Signal())
	}
	return fmt.Errorf("exit status %d", exit.ExitCode())
}

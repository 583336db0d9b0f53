package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	// How often we look whether the engine still lives.
	parentPoll = 200 * time.Millisecond
	// Room for TERM, grace and KILL of what still runs.
	settleLimit = 3 * killGrace
	// Room for the last answers to the engine. The gRPC server's graceful
	// stop alone can outlast the 5 s after which the engine kills a plugin.
	flushLimit = 200 * time.Millisecond
)

// guard waits for a reason to stop, ends what runs, then ends the process.
func (l *life) guard(stopServing context.CancelFunc) {
	// A handler for SIGPIPE, or a log line to a dead engine kills us before
	// we ended the commands. Not ignored, since children would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)

	reason := waitForStop(signals, os.Getppid())
	l.end(reason)
	l.settle(settleLimit)
	stopServing()
	time.Sleep(flushLimit)
	os.Exit(0)
}

// waitForStop returns on a signal or when our parent, the engine, has died.
// The SDK's own health check would notice that only after minutes.
func waitForStop(signals <-chan os.Signal, parent int) error {
	tick := time.NewTicker(parentPoll)
	defer tick.Stop()
	for {
		select {
		case s := <-signals:
			return fmt.Errorf("stopped by signal: %s", s)
		case <-tick.C:
			if os.Getppid() != parent {
				return errEngineGone
			}
		}
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"time"

	p "github.com/pulumi/pulumi-go-provider"
)

// An engine that no longer reads must not hold a command.
const logTimeout = 2 * time.Second

var loggingModes = []string{"", "stdout", "stderr", "stdoutAndStderr", "none"}

// logs are the places where a command's output is shown while it runs.
type logs struct {
	stdout, stderr io.Writer // nil: not shown
	lines          []*lineLog
}

func newLogs(ctx context.Context, mode string) *logs {
	l := &logs{}
	open := func() io.Writer {
		line := &lineLog{send: func(text string) { logInfo(ctx, text) }}
		l.lines = append(l.lines, line)
		return line
	}
	if mode != "none" && mode != "stderr" {
		l.stdout = open()
	}
	if mode != "none" && mode != "stdout" {
		l.stderr = open()
	}
	return l
}

func (l *logs) close() {
	for _, line := range l.lines {
		line.close()
	}
}

func logInfo(ctx context.Context, text string) {
	withLogger(ctx, func(log p.Logger) { log.Info(text) })
}

func warnf(ctx context.Context, format string, args ...any) {
	withLogger(ctx, func(log p.Logger) { log.Warning(fmt.Sprintf(format, args...)) })
}

// withLogger outlives the operation: what a cancelled command printed last is
// worth showing.
func withLogger(ctx context.Context, use func(p.Logger)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logTimeout)
	defer cancel()
	use(p.GetLogger(ctx))
}

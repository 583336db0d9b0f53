package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	errCancelled  = errors.New("cancelled by Pulumi")
	errEngineGone = errors.New("the Pulumi engine is gone")
)

// life bounds every operation: it ends when Pulumi cancels, when a signal
// asks us to stop, or when the engine is gone.
type life struct {
	ctx     context.Context
	end     context.CancelCauseFunc
	running sync.WaitGroup
}

func newLife() *life {
	ctx, end := context.WithCancelCause(context.Background())
	return &life{ctx: ctx, end: end}
}

// operation derives the context of one request. The timeout is in seconds and
// keeps its fraction: go-provider's own middleware would cut it off.
func (l *life) operation(
	ctx context.Context, verb string, timeout float64,
) (context.Context, func()) {
	l.running.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	unlink := context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })
	release := func() {}
	if timeout > 0 {
		limit := time.Duration(timeout * float64(time.Second))
		reason := fmt.Errorf("%s did not end within its custom timeout of %s", verb, limit)
		ctx, release = context.WithTimeoutCause(ctx, limit, reason)
	}
	return ctx, func() {
		release()
		unlink()
		cancel(nil)
		l.running.Done()
	}
}

// settle waits until no operation runs, but not for ever.
func (l *life) settle(limit time.Duration) {
	idle := make(chan struct{})
	go func() {
		l.running.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-time.After(limit):
	}
}

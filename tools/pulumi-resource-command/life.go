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
	cancel  context.CancelCauseFunc
	mu      sync.Mutex // a WaitGroup must not grow while it is waited for
	running sync.WaitGroup
}

func newLife() *life {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &life{ctx: ctx, cancel: cancel}
}

// end cancels what runs; what comes later is cancelled from its start.
func (l *life) end(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancel(reason)
}

func (l *life) enter() (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return func() {}
	}
	l.running.Add(1)
	return l.running.Done
}

// operation derives the context of one request. The timeout is in seconds and
// keeps its fraction: go-provider's own middleware would cut it off.
func (l *life) operation(ctx context.Context, timeout float64) (context.Context, func()) {
	leave := l.enter()
	ctx, cancel := context.WithCancelCause(ctx)
	unlink := context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })
	release := func() {}
	if timeout > 0 {
		limit := time.Duration(timeout * float64(time.Second))
		reason := fmt.Errorf("the custom timeout of %s is over", limit)
		ctx, release = context.WithTimeoutCause(ctx, limit, reason)
	}
	return ctx, func() {
		release()
		unlink()
		cancel(nil)
		leave()
	}
}

// settle waits until no operation runs, but not for ever. It comes after end.
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

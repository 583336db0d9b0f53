package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestOperationKeepsTheFractionOfItsTimeout(t *testing.T) {
	start := time.Now()
	ctx, done := newLife().operation(t.Context(), 0.25)
	defer done()
	<-ctx.Done()
	if took := time.Since(start); took < 250*time.Millisecond || took > time.Second {
		t.Errorf("took %s", took)
	}
	if got := context.Cause(ctx).Error(); got != "the custom timeout of 250ms is over" {
		t.Errorf("got %q", got)
	}
}

func TestEndCancelsOperations(t *testing.T) {
	l := newLife()
	before, done := l.operation(t.Context(), 0)
	l.end(errCancelled)
	<-before.Done()
	if !errors.Is(context.Cause(before), errCancelled) {
		t.Errorf("got %v", context.Cause(before))
	}
	after, doneAfter := l.operation(t.Context(), 60)
	defer doneAfter()
	<-after.Done()

	start := time.Now()
	l.settle(100 * time.Millisecond)
	if time.Since(start) < 100*time.Millisecond {
		t.Error("did not wait for the operation that runs")
	}
	done()
	start = time.Now()
	l.settle(5 * time.Second)
	if time.Since(start) > time.Second {
		t.Error("waited for an operation that ended")
	}
}

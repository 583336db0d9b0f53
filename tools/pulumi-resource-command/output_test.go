package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestCaptureTrimsOneNewlineAndKeepsTextValid(t *testing.T) {
	var c capture
	fmt.Fprint(c.stdoutTo(nil), "a\n\n")
	fmt.Fprint(c.stderrTo(nil), "b\xff\n")
	got := c.outputs()
	if want := (outputs{stdout: "a\n", stderr: "b\uFFFD"}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := c.combined.String(); got != "a\n\nb\uFFFD" {
		t.Errorf("combined is %q", got)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var out tail
	for i := range 10_000 {
		out.Write(fmt.Appendf(nil, "line %d\n", i))
	}
	text := out.String()
	if !strings.HasPrefix(text, "[") || !strings.HasSuffix(text, "line 9999") {
		t.Errorf("got %.40q ... %q", text, text[len(text)-20:])
	}
	if len(text) > tailLimit+100 {
		t.Errorf("keeps %d bytes", len(text))
	}
}

// collector is an engine that gathers log messages.
type collector struct {
	mu       sync.Mutex
	messages []string
}

func (c *collector) send(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages = append(c.messages, text)
}

func logged(writes ...string) []string {
	var c collector
	l := &lineLog{send: c.send}
	for _, text := range writes {
		fmt.Fprint(l, text)
	}
	l.close()
	fmt.Fprint(l, "late") // must neither block nor panic
	return strings.Split(strings.Join(c.messages, "\n"), "\n")
}

func TestLineLogSendsWholeLines(t *testing.T) {
	got := logged("a", "b\nc\n", "\nd")
	if want := []string{"ab", "c", "", "d"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLineLogCutsLongLines(t *testing.T) {
	got := logged(strings.Repeat("x", 500_000), strings.Repeat("x", 500_000), "\nnext\n")
	want := fmt.Sprintf("%s [%d bytes more]", strings.Repeat("x", lineLimit), 1_000_000-lineLimit)
	if len(got) != 2 || got[0] != want || got[1] != "next" {
		t.Errorf("got %d lines, the first of %d bytes", len(got), len(got[0]))
	}
}

func TestLineLogDoesNotWaitForASlowEngine(t *testing.T) {
	release := make(chan struct{})
	var c collector
	l := &lineLog{send: func(text string) {
		<-release
		c.send(text)
	}}
	line := strings.Repeat("x", 1000) + "\n"
	for range 3 * queueLimit / len(line) {
		fmt.Fprint(l, line)
	}
	close(release)
	l.close()
	if !strings.Contains(strings.Join(c.messages, "\n"), "lines not shown]") {
		t.Error("does not tell of the lines left out")
	}
}

func TestLineLogOfASilentCommandStartsNothing(t *testing.T) {
	l := &lineLog{send: func(string) { t.Error("sent something") }}
	l.close()
	if l.done != nil {
		t.Error("a goroutine was started")
	}
}

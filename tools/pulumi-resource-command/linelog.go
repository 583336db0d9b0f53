package main

import (
	"bytes"
	"fmt"
	"sync"
)

const (
	// A longer line is cut in the log, never in the outputs.
	lineLimit = 8 << 10
	// What may wait for a slow engine before lines are left out.
	queueLimit = 1 << 20
)

// lineLog sends whole lines to the engine from its own goroutine, so that a
// command never waits for a screen. Lines that pile up go out as one message.
type lineLog struct {
	send func(string)

	mu      sync.Mutex
	line    []byte // the last line, still without its end
	cut     int    // bytes of that line that are left out
	queue   []byte // whole lines
	skipped int    // lines left out since the queue was full
	closed  bool
	wake    chan struct{} // nil until there is something to send
	done    chan struct{}
}

func (l *lineLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return len(b), nil // a child left behind still writes
	}
	for rest := b; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			l.extend(rest)
			break
		}
		l.extend(rest[:i])
		l.endLine()
		rest = rest[i+1:]
	}
	return len(b), nil
}

func (l *lineLog) extend(b []byte) {
	room := max(lineLimit-len(l.line), 0)
	if room < len(b) {
		l.cut += len(b) - room
		b = b[:room]
	}
	l.line = append(l.line, b...)
}

func (l *lineLog) endLine() {
	if l.cut > 0 {
		l.line = fmt.Appendf(l.line, " [%d bytes more]", l.cut)
	}
	if len(l.queue)+len(l.line) > queueLimit {
		l.skipped++
	} else {
		l.queue = append(append(l.queue, l.line...), '\n')
	}
	l.line, l.cut = l.line[:0], 0
	if l.wake == nil {
		l.wake, l.done = make(chan struct{}, 1), make(chan struct{})
		go l.drain(l.wake, l.done)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lineLog) drain(wake <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	for range wake {
		if text := l.take(); text != "" {
			l.send(text)
		}
	}
	if text := l.take(); text != "" {
		l.send(text)
	}
}

func (l *lineLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := string(bytes.TrimSuffix(l.queue, []byte("\n")))
	l.queue = l.queue[:0]
	if l.skipped > 0 {
		text += fmt.Sprintf("\n[%d lines not shown]", l.skipped)
		l.skipped = 0
	}
	return text
}

// close sends what is left and waits until it is sent.
func (l *lineLog) close() {
	l.mu.Lock()
	if len(l.line) > 0 || l.cut > 0 {
		l.endLine()
	}
	l.closed = true
	wake, done := l.wake, l.done
	l.mu.Unlock()
	if wake != nil {
		close(wake)
		<-done
	}
}

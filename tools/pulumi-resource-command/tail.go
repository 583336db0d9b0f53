package main

import "fmt"

// An error message travels in a gRPC header and ends on a screen: it carries
// the end of the output, where the reason usually is.
const tailLimit = 16 << 10

// tail keeps the last bytes written to it.
type tail struct {
	kept    []byte
	dropped int
}

func (t *tail) Write(b []byte) {
	if over := len(b) - tailLimit; over > 0 {
		t.dropped += over
		b = b[over:]
	}
	t.kept = append(t.kept, b...)
	// Twice the limit, so that small writes do not move the rest each time.
	if len(t.kept) > 2*tailLimit {
		t.trim()
	}
}

func (t *tail) trim() {
	if over := len(t.kept) - tailLimit; over > 0 {
		t.dropped += over
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
}

func (t *tail) String() string {
	t.trim()
	text := printable(t.kept)
	if t.dropped > 0 {
		text = fmt.Sprintf("[%d bytes of output left out]\n%s", t.dropped, text)
	}
	return text
}

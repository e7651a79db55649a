// Package logtest keeps what is logged while a test runs.
package logtest

import (
	"bytes"
	"strings"
	"sync"
)

// Buffer collects what a logger or a process writes, and may be read meanwhile.
// The zero value is empty.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is what was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Count is how often a text was written so far.
func (b *Buffer) Count(text string) int { return strings.Count(b.String(), text) }

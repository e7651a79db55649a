package main

import (
	"io"
	"sync"

	"charm.land/lipgloss/v2"
)

// console is what a person sees of a running platform. Colours are left out
// when it is not a terminal, or NO_COLOR is set.
type console struct {
	mu sync.Mutex
	w  io.Writer
}

func newConsole(w io.Writer) *console { return &console{w: w} }

var (
	bold = lipgloss.NewStyle().Bold(true)
	dim  = lipgloss.NewStyle().Faint(true)
	mark = lipgloss.NewStyle().Foreground(lipgloss.Green)
)

// step says what happens.
func (c *console) step(format string, args ...any) {
	c.printf(mark.Render("•")+" "+format+"\n", args...)
}

// printf prints as fmt.Printf does. Several goroutines may: a restart is told
// while something else is.
func (c *console) printf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = lipgloss.Fprintf(c.w, format, args...) // a terminal that is gone is not told
}

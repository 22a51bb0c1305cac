package main

import (
	"strconv"
	"sync"
	"time"
)

// The states of a unit, as systemctl names them.
const (
	inactive   = "inactive"
	activating = "activating"
	active     = "active"
	failed     = "failed"
)

// A service is a unit and what has become of it.
type service struct {
	unit    *unit
	mutex   sync.Mutex
	state   string
	why     string
	settled chan struct{} // closed when the start has come to an end
	stops   chan struct{} // closed to stop the service
	gone    chan struct{} // closed when it has ended for good
	main    int
	times   int  // starts since the boot
	broken  bool // the last start has failed, even if it is tried again
}

func newService(u *unit) *service {
	return &service{unit: u, state: inactive, settled: make(chan struct{})}
}

// settledService is a unit that is not run here.
func settledService(u *unit, why string) *service {
	s := newService(u)
	s.why = why
	close(s.settled)
	return s
}

func (s *service) isSettled() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	select {
	case <-s.settled:
		return true
	default:
		return false
	}
}

func (s *service) current() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.state
}

func (s *service) said() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.why
}

func (s *service) skipped() bool { return s.said() != "" }

// settle says how a start has ended, or what has become of a unit since.
func (s *service) settle(state, why string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.state != state || s.why != why {
		say("%s: %s %s", s.unit.name, state, why)
	}
	s.state, s.why = state, why
	if state == activating {
		return
	}
	select {
	case <-s.settled:
	default:
		s.broken = state == failed
		close(s.settled)
	}
}

// hasBroken says whether the start has failed.
func (s *service) hasBroken() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.broken
}

func (s *service) unsettle() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.settled = make(chan struct{})
	s.state, s.why, s.broken = inactive, "", false
}

// stop ends a service that runs or would start again.
func (s *service) stop() {
	s.mutex.Lock()
	stops, gone := s.stops, s.gone
	s.stops = nil
	s.mutex.Unlock()
	if stops != nil {
		close(stops)
	}
	if gone != nil {
		<-gone
	}
}

// supervise runs the service, again and again where it says so.
func (s *service) supervise(m *manager) {
	stops, gone := make(chan struct{}), make(chan struct{})
	s.mutex.Lock()
	s.stops, s.gone = stops, gone
	s.mutex.Unlock()
	defer close(gone)
	var starts []time.Time
	for {
		u := s.unit
		interval, burst := u.span("Unit.StartLimitIntervalSec", 10*time.Second), 5
		if text := u.one("Unit.StartLimitBurst", ""); text != "" {
			burst, _ = strconv.Atoi(text)
		}
		for len(starts) > 0 && time.Since(starts[0]) > interval {
			starts = starts[1:]
		}
		if interval > 0 && len(starts) >= burst {
			s.settle(failed, "it was started too often")
			return
		}
		starts = append(starts, time.Now())
		s.settle(activating, "")
		r := &runner{service: s, unit: u, manager: m, stops: stops}
		end := r.once()
		r.cleanUp()
		switch {
		case end.stopped:
			s.settle(inactive, "stopped")
			return
		case end.skipped != "":
			s.settle(inactive, "skipped: "+end.skipped)
			return
		case !u.restarts(end):
			if end.clean {
				s.settle(inactive, end.why)
			} else {
				s.settle(failed, end.why)
			}
			return
		}
		say("%s: ended (%s), to start again", u.name, end.why)
		if !end.clean {
			// Whoever waits for the start learns that it has failed; it is tried again all the same.
			s.settle(failed, end.why)
			s.settle(activating, "auto-restart")
		}
		select {
		case <-time.After(u.span("Service.RestartSec", 100*time.Millisecond)):
		case <-stops:
			s.settle(inactive, "stopped")
			return
		}
	}
}

// An end of a service's run.
type end struct {
	clean, stopped bool
	skipped, why   string
	code           int
}

func (u *unit) restarts(e end) bool {
	for _, status := range u.words("Service.RestartPreventExitStatus") {
		if status == strconv.Itoa(e.code) {
			return false
		}
	}
	switch u.one("Service.Restart", "no") {
	case "always":
		return true
	case "on-success":
		return e.clean
	case "on-failure":
		return !e.clean
	case "on-abnormal", "on-abort", "on-watchdog":
		return e.code < 0
	}
	return false
}

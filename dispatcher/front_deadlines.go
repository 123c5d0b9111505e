package dispatcher

import (
	"errors"
	"time"
)

// past is a deadline that has been.
var past = time.Unix(1, 0)

// SetDeadline sets both deadlines.
func (g *guardConn) SetDeadline(t time.Time) error {
	return errors.Join(g.SetReadDeadline(t), g.SetWriteDeadline(t))
}

// SetReadDeadline is the callers' own deadline. Between requests there is none:
// what net/http asks for then is done here already.
func (g *guardConn) SetReadDeadline(t time.Time) error {
	ends := !t.IsZero() && t.Before(time.Now())
	if g.state.Load() == stateWaiting && !ends {
		return nil
	}
	g.deadlines.Lock()
	defer g.deadlines.Unlock()
	g.readAsked = t
	if ends {
		select {
		case g.parked <- struct{}{}:
		default:
		}
	} else {
		select {
		case <-g.parked:
		default:
		}
	}
	return g.Conn.SetReadDeadline(earlier(g.readAsked, g.read))
}

// SetWriteDeadline is the callers' own deadline.
func (g *guardConn) SetWriteDeadline(t time.Time) error {
	g.deadlines.Lock()
	defer g.deadlines.Unlock()
	if t.Equal(g.writeAsked) {
		return nil
	}
	g.writeAsked = t
	return g.Conn.SetWriteDeadline(earlier(g.writeAsked, g.write))
}

// limitRead sets this connection's own deadline for reads.
func (g *guardConn) limitRead(t time.Time) {
	g.deadlines.Lock()
	defer g.deadlines.Unlock()
	g.read = t
	_ = g.Conn.SetReadDeadline(earlier(g.readAsked, g.read))
}

func (g *guardConn) limitWrite(t time.Time) {
	g.deadlines.Lock()
	defer g.deadlines.Unlock()
	g.write = t
	_ = g.Conn.SetWriteDeadline(earlier(g.writeAsked, g.write))
}

// extendWrite gives a write its time. The timer is only set when less than three
// quarters of the grace are left on it.
func (g *guardConn) extendWrite(now time.Time, size int) {
	limits := &g.server.limits
	g.deadlines.Lock()
	defer g.deadlines.Unlock()
	switch {
	case size > bufferedBytes:
		g.write = now.Add(limits.SlowGrace + time.Duration(int64(size)/limits.SlowRate)*time.Second)
	case g.write.Sub(now) < limits.SlowGrace/4*3:
		g.write = now.Add(limits.SlowGrace)
	default:
		return
	}
	_ = g.Conn.SetWriteDeadline(earlier(g.writeAsked, g.write))
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

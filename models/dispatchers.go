package models

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gorm.io/gorm"
)

// PrefixDispatcher is the prefix of a dispatcher process's id.
const PrefixDispatcher = "dsp"

const (
	// DispatcherGone is how long a dispatcher may be silent before nobody waits
	// for it any more.
	DispatcherGone = 10 * time.Second
	// forgetDispatcher is how long a silent one is still listed.
	forgetDispatcher = time.Hour
	// announceAgain is how often a change is announced anew to those who have
	// not taken note of it: they may have been connecting when it was.
	announceAgain = time.Second
)

// RouteAck says that a dispatcher answers a key by a generation at least that new.
type RouteAck struct {
	Key        string
	Generation int64
}

// RouteChange is what is announced on RoutesChannel.
func RouteChange(key string, generation int64) string {
	return key + " " + strconv.FormatInt(generation, 10)
}

// ParseRouteChange reads what RouteChange wrote; a change without a generation
// has 0.
func ParseRouteChange(payload string) (key string, generation int64) {
	key, number, _ := strings.Cut(payload, " ")
	generation, _ = strconv.ParseInt(number, 10, 64)
	return key, generation
}

// BeatDispatcher notes that a dispatcher serves, and forgets those that have
// been silent for long.
func (s *Store) BeatDispatcher(ctx context.Context, id, host string) error {
	err := s.with(ctx).Exec(`INSERT INTO dispatchers (id, host) VALUES (?, ?)
		ON CONFLICT (id) DO UPDATE SET seen_at = now()`, id, host).Error
	if err != nil {
		return dbError(err)
	}
	return dbError(s.with(ctx).Exec("DELETE FROM dispatchers WHERE seen_at < now() - make_interval(secs => ?)", forgetDispatcher.Seconds()).Error)
}

// RemoveDispatcher notes that a dispatcher has stopped.
func (s *Store) RemoveDispatcher(ctx context.Context, id string) error {
	return dbError(s.with(ctx).Exec("DELETE FROM dispatchers WHERE id = ?", id).Error)
}

// AckRoutes notes what a dispatcher has taken note of. Acks of one that is not
// known (any more) are dropped: nobody waits for it.
func (s *Store) AckRoutes(ctx context.Context, id string, acks []RouteAck) error {
	if len(acks) == 0 {
		return nil
	}
	args := make([]any, 0, 2*len(acks)+1)
	rows := make([]string, 0, len(acks))
	for _, a := range acks {
		rows = append(rows, "(?::text, ?::bigint)")
		args = append(args, a.Key, a.Generation)
	}
	args = append(args, id)
	return dbError(s.with(ctx).Exec(`INSERT INTO route_acks (dispatcher_id, route_key, generation)
		SELECT d.id, a.key, a.generation FROM (VALUES `+strings.Join(rows, ", ")+`) AS a (key, generation), dispatchers d WHERE d.id = ?
		ON CONFLICT (dispatcher_id, route_key) DO UPDATE SET generation = greatest(route_acks.generation, excluded.generation)`, args...).Error)
}

// behind is a route that a dispatcher has not taken note of.
type behind struct {
	Key        string
	Generation int64
	Host       string
}

func (s *Store) behind(ctx context.Context, projectID string) ([]behind, error) {
	var rows []behind
	err := s.with(ctx).Raw(`SELECT r.key, r.generation, d.host
		FROM routes r CROSS JOIN dispatchers d
		LEFT JOIN route_acks a ON a.dispatcher_id = d.id AND a.route_key = r.key
		WHERE r.project_id = ? AND d.seen_at > now() - make_interval(secs => ?) AND coalesce(a.generation, 0) < r.generation`,
		projectID, DispatcherGone.Seconds()).Scan(&rows).Error
	return rows, dbError(err)
}

// AwaitRoutes returns when every live dispatcher has taken note of the routes of
// a project as they are, or is gone. CodeDispatcher names who has not when the
// context ends first.
func (s *Store) AwaitRoutes(ctx context.Context, projectID string) error {
	const longest = 100 * time.Millisecond
	wait := 2 * time.Millisecond
	announced := time.Now()
	late := func(host string) error {
		return Wrap(CodeDispatcher, ctx.Err(), fmt.Sprintf("The dispatcher on %s has not taken note of the new release.", host))
	}
	var before []behind
	for {
		rows, err := s.behind(ctx, projectID)
		if err != nil && ctx.Err() != nil && len(before) > 0 {
			return late(before[0].Host) // it ended during a look
		}
		if err != nil || len(rows) == 0 {
			return err
		}
		before = rows
		if time.Since(announced) > announceAgain {
			announced = time.Now()
			if err := s.announceRoutes(ctx, projectID); err != nil && ctx.Err() == nil {
				return err
			}
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
			wait = min(2*wait, longest)
		case <-ctx.Done():
			pause.Stop()
			return late(rows[0].Host)
		}
	}
}

func (s *Store) announceRoutes(ctx context.Context, projectID string) error {
	return dbError(s.with(ctx).Exec("SELECT pg_notify(?, key || ' ' || generation) FROM routes WHERE project_id = ?", RoutesChannel, projectID).Error)
}

// moveRoutes points every route of a project at what set says, in SQL, with a
// new generation each, and announces it.
func moveRoutes(tx *gorm.DB, projectID, set string, args ...any) error {
	args = append(append([]any{}, args...), projectID, RoutesChannel)
	return tx.Exec(`WITH moved AS (
			UPDATE routes SET `+set+`, generation = nextval('route_generations'), updated_at = now() WHERE project_id = ? RETURNING key, generation)
		SELECT pg_notify(?, key || ' ' || generation) FROM moved`, args...).Error
}

package models

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// measureTimeout bounds the question that a scrape asks the database.
const measureTimeout = 3 * time.Second

var (
	databaseUpDesc  = prometheus.NewDesc("slipway_database_up", "1 when the database answered this scrape.", nil, nil)
	deadLettersDesc = prometheus.NewDesc("slipway_dead_letters", "Dead letters that wait for an operator, of the whole installation.", nil, nil)
	openDesc        = prometheus.NewDesc("slipway_deployments_open", "Deployments of the whole installation that are queued or in progress; dead letters are not among them.", []string{"status"}, nil)
	oldestDesc      = prometheus.NewDesc("slipway_deployments_queued_oldest_seconds", "How long the deployment that has been queued longest has waited; 0 when none is.", nil, nil)
)

// Measure registers the metrics of the connections to the database, and of what
// only it knows: those are of the whole installation, so every process that shows
// them shows the same.
func (s *Store) Measure(registerer prometheus.Registerer) error {
	pool, err := s.db.DB()
	if err != nil {
		return err
	}
	if err := registerer.Register(collectors.NewDBStatsCollector(pool, "slipway")); err != nil {
		return err
	}
	return registerer.Register(storeCollector{s})
}

type storeCollector struct{ store *Store }

// Describe is prometheus.Collector.
func (c storeCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{databaseUpDesc, deadLettersDesc, openDesc, oldestDesc} {
		out <- desc
	}
}

// Collect is prometheus.Collector.
func (c storeCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), measureTimeout)
	defer cancel()
	show := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	var now struct {
		DeadLetters, Queued, InProgress int64
		OldestQueued                    float64
	}
	err := c.store.with(ctx).Raw(`
		SELECT count(*) FILTER (WHERE outcome = ?) AS dead_letters,
		       count(*) FILTER (WHERE status = ? AND outcome <> ?) AS queued,
		       count(*) FILTER (WHERE status = ? AND outcome <> ?) AS in_progress,
		       coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE status = ?)), 0) AS oldest_queued
		FROM deployments WHERE finished_at IS NULL`,
		OutcomeDeadLetter, StatusQueued, OutcomeDeadLetter, StatusInProgress, OutcomeDeadLetter, StatusQueued).Scan(&now).Error
	if err != nil {
		show(databaseUpDesc, 0)
		return
	}
	show(databaseUpDesc, 1)
	show(deadLettersDesc, float64(now.DeadLetters))
	show(openDesc, float64(now.Queued), string(StatusQueued))
	show(openDesc, float64(now.InProgress), string(StatusInProgress))
	show(oldestDesc, max(0, now.OldestQueued))
}

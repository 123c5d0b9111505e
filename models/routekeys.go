package models

import (
	"context"
	"errors"
)

// RouteKeys calls each with the key of every route and of every worker name that
// a route or a preview may have, in no order, as of one moment after the call
// began. A key may come twice. CodeDatabase.
func (s *Store) RouteKeys(ctx context.Context, each func(key string)) (err error) {
	rows, err := s.with(ctx).Raw("SELECT key FROM routes UNION ALL SELECT ?::text || worker_name FROM projects", WorkerRouteKey("")).Rows()
	if err != nil {
		return dbError(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return dbError(err)
		}
		each(key)
	}
	return dbError(rows.Err())
}

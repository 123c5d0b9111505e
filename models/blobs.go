package models

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Objects in blob storage are deleted in two looks. The first condemns what
// nothing refers to; the second, a grace later, deletes what is still condemned
// and still unreferred. HoldBlobs takes objects off the list, so that an object
// which somebody was told is there stays for a whole grace from then on, within
// which they write the row that refers to it. docs/decisions/0220 has the proof.

const (
	// deletingFor is how long a deletion that was begun counts as under way; after
	// it, whoever began it has died. BlobDeletion is much shorter.
	deletingFor = 2 * time.Minute
	// BlobDeletion is the most that may pass between ClaimBlobs and the last
	// deletion that goes by it.
	BlobDeletion = 20 * time.Second
	// holdAgain is the pause before looking again at an object that is being deleted.
	holdAgain = 50 * time.Millisecond
	// heldAtOnce bounds the digests of one statement.
	heldAtOnce = 10_000
)

// BlobKind says what an object that is referred to has in it.
type BlobKind string

// The kinds of objects that rows name.
const (
	// BlobLeaf names no other object.
	BlobLeaf BlobKind = "leaf"
	// BlobList is JSON that names others: a FileSet, a WorkerBundle, an assets.Manifest.
	BlobList BlobKind = "list"
	// BlobResult is a list that an earlier build came to. Whoever uses it looks first
	// whether it is there, and does without it.
	BlobResult BlobKind = "result"
)

// BlobRoot is an object that a row names.
type BlobRoot struct {
	Digest string
	Kind   BlobKind
}

// BlobRoots are all objects of an organization that rows named at one instant.
type BlobRoots struct {
	// At is not after that instant, by the database's clock.
	At    time.Time
	Roots []BlobRoot
	// Unknown says that there may be others, which only workflows know: of
	// deployments under way that were built by a worker of an earlier release, which
	// did not say what its build's output is.
	Unknown bool
	// Gone says that there is no such organization any more.
	Gone bool
}

// CondemnedBlob is an object that was unreferred when it was last looked at.
type CondemnedBlob struct {
	Digest string
	At     time.Time
}

// HoldBlobs keeps those of an organization's objects that are there: none of them
// is deleted before half of the grace is over. It waits for deletions that are
// under way, so that looking for the object afterwards tells the truth. Where
// nothing of it is condemned, which is the usual case, it writes nothing.
func (s *Store) HoldBlobs(ctx context.Context, organizationID string, digests []string) error {
	for len(digests) > 0 {
		some := digests[:min(len(digests), heldAtOnce)]
		digests = digests[len(some):]
		keys, err := blobKeys(some)
		if err != nil {
			return err
		}
		for {
			deleting, err := s.takeOff(ctx, organizationID, keys)
			if err != nil {
				return err
			}
			if deleting == 0 {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(holdAgain):
			}
		}
	}
	return nil
}

// takeOff takes objects off the list of the condemned, and counts those that are
// on it still because they are being deleted. Rows are locked in order, so that
// nobody waits for each other.
func (s *Store) takeOff(ctx context.Context, organizationID string, keys [][]byte) (deleting int, err error) {
	err = s.withConn(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `
			WITH free AS (
				SELECT digest FROM condemned_blobs WHERE organization_id = $1 AND digest = ANY($2)
					AND (deleting_at IS NULL OR deleting_at < clock_timestamp() - $3::interval)
				ORDER BY digest FOR UPDATE
			), gone AS (
				DELETE FROM condemned_blobs WHERE organization_id = $1 AND digest IN (SELECT digest FROM free) RETURNING digest
			)
			SELECT count(*) FROM condemned_blobs WHERE organization_id = $1 AND digest = ANY($2) AND digest NOT IN (SELECT digest FROM gone)`,
			organizationID, keys, deletingFor).Scan(&deleting)
	})
	return deleting, err
}

// SpareBlobs takes objects off the list that turned out to be referred to, or not
// to be there. It waits for nothing.
func (s *Store) SpareBlobs(ctx context.Context, organizationID string, digests []string) error {
	keys, err := blobKeys(digests)
	if err != nil || len(keys) == 0 {
		return err
	}
	_, err = s.takeOff(ctx, organizationID, keys)
	return err
}

// KeepOutput notes the build output that a deployment goes on with, which keeps
// it until the deployment has ended.
func (s *Store) KeepOutput(ctx context.Context, deploymentID, digest string) error {
	return dbError(s.with(ctx).Exec("UPDATE deployments SET output_digest = ? WHERE id = ? AND output_digest IS DISTINCT FROM ?", digest, deploymentID, digest).Error)
}

// uselessOutput is of results of earlier builds (b) that nobody uses: no release
// has them, no deployment under way does or was there when they were made, and
// they have been so for the grace ($2).
const uselessOutput = `b.created_at < now() - $2::interval
	AND NOT EXISTS (SELECT FROM releases r WHERE r.organization_id = $1 AND b.output_digest IN (r.output_digest, r.manifest_digest))
	AND NOT EXISTS (SELECT FROM deployments d WHERE d.organization_id = $1 AND d.finished_at IS NULL
		AND (d.output_digest = b.output_digest OR d.created_at <= b.created_at))`

// ForgetOutputs drops an organization's results of earlier builds that nobody has
// used for the grace: what it remembered them for, mostly a project, is gone.
func (s *Store) ForgetOutputs(ctx context.Context, organizationID string, grace time.Duration) error {
	return s.withConn(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "DELETE FROM build_cache b WHERE organization_id = $1 AND "+uselessOutput, organizationID, grace)
		return err
	})
}

// blobRoots gathers every column that names an object. What of a deployment that
// has ended is not here is not needed any more: its request became its source, its
// output a release's. Of sources there are those of releases and, for the next
// deployment or a retry, the latest one from before the oldest that is under way,
// with all that came after. Results that ForgetOutputs would drop are left out
// where $3 says so.
const blobRoots = `
WITH open AS (
	SELECT project_id, min(sequence) AS oldest FROM deployments WHERE organization_id = $1 AND finished_at IS NULL GROUP BY project_id
), base AS (
	SELECT d.project_id, max(d.sequence) AS sequence FROM deployments d LEFT JOIN open o USING (project_id)
	WHERE d.organization_id = $1 AND d.source_digest <> '' AND (o.oldest IS NULL OR d.sequence < o.oldest) GROUP BY d.project_id
)
SELECT 'list', source_digest FROM projects WHERE organization_id = $1
UNION SELECT 'list', d.source_digest FROM deployments d LEFT JOIN base b USING (project_id)
	WHERE d.organization_id = $1 AND d.sequence >= coalesce(b.sequence, 0)
UNION SELECT 'list', request_digest FROM deployments WHERE organization_id = $1 AND finished_at IS NULL
UNION SELECT 'list', coalesce(input ->> 'requestDigest', '') FROM deployments WHERE organization_id = $1 AND finished_at IS NULL
UNION SELECT 'list', coalesce(output_digest, '') FROM deployments WHERE organization_id = $1 AND finished_at IS NULL
UNION SELECT 'leaf', log_digest FROM deployments WHERE organization_id = $1
UNION SELECT 'list', source_digest FROM releases WHERE organization_id = $1
UNION SELECT 'list', output_digest FROM releases WHERE organization_id = $1
UNION SELECT 'list', manifest_digest FROM releases WHERE organization_id = $1
UNION SELECT 'list', worker_digest FROM releases WHERE organization_id = $1
UNION SELECT 'list', manifest_digest FROM routes WHERE organization_id = $1
UNION SELECT 'list', worker_digest FROM routes WHERE organization_id = $1
UNION SELECT 'list', canary_manifest_digest FROM routes WHERE organization_id = $1
UNION SELECT 'list', canary_worker_digest FROM routes WHERE organization_id = $1
UNION SELECT 'result', output_digest FROM build_cache b WHERE organization_id = $1 AND NOT ($3 AND ` + uselessOutput + `)`

// BlobRoots reads which objects of an organization rows name, all at one instant.
// With forgetting, results that ForgetOutputs would drop after the grace do not
// count. CodeOrganizationNotFound for one that never was in this database.
func (s *Store) BlobRoots(ctx context.Context, organizationID string, grace time.Duration, forgetting bool) (BlobRoots, error) {
	var found BlobRoots
	err := s.withConn(ctx, func(conn *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			var ours bool
			err := tx.QueryRow(ctx, `SELECT now(), EXISTS (SELECT FROM blob_collections WHERE organization_id = $1),
				NOT EXISTS (SELECT FROM organizations WHERE id = $1),
				EXISTS (SELECT FROM deployments WHERE organization_id = $1 AND finished_at IS NULL
					AND (output_digest IS NULL OR output_digest = '' AND state #>> '{steps,build,status}' = $2))`,
				organizationID, StepCompleted).Scan(&found.At, &ours, &found.Gone, &found.Unknown)
			if err != nil {
				return err
			}
			if !ours {
				return Errorf(CodeOrganizationNotFound, "There is no organization %q, and was none.", organizationID)
			}
			rows, err := tx.Query(ctx, blobRoots, organizationID, grace, forgetting)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var root BlobRoot
				if err := rows.Scan(&root.Kind, &root.Digest); err != nil {
					return err
				}
				if root.Digest != "" {
					found.Roots = append(found.Roots, root)
				}
			}
			return rows.Err()
		})
	})
	return found, err
}

// CondemnBlobs puts objects that nothing refers to on the list. Those that are on
// it stay as they are.
func (s *Store) CondemnBlobs(ctx context.Context, organizationID string, digests []string) error {
	keys, err := blobKeys(digests)
	if err != nil || len(keys) == 0 {
		return err
	}
	return s.withConn(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `INSERT INTO condemned_blobs (organization_id, digest)
			SELECT $1, digest FROM unnest($2::bytea[]) AS digest ORDER BY digest ON CONFLICT DO NOTHING`, organizationID, keys)
		return err
	})
}

// CondemnedBlobs lists what is condemned after one digest and up to another, both
// of which need not exist; "" is the start.
func (s *Store) CondemnedBlobs(ctx context.Context, organizationID, after, through string) ([]CondemnedBlob, error) {
	from, err := hex.DecodeString(after)
	if err != nil {
		return nil, err
	}
	to, err := hex.DecodeString(through)
	if err != nil {
		return nil, err
	}
	var condemned []CondemnedBlob
	err = s.withConn(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "SELECT digest, condemned_at FROM condemned_blobs WHERE organization_id = $1 AND digest > $2 AND digest <= $3 ORDER BY digest",
			organizationID, from, to)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var digest []byte
			var c CondemnedBlob
			if err := rows.Scan(&digest, &c.At); err != nil {
				return err
			}
			c.Digest = hex.EncodeToString(digest)
			condemned = append(condemned, c)
		}
		return rows.Err()
	})
	return condemned, err
}

// BlobClaim is the right to delete objects for a moment.
type BlobClaim struct {
	Digests []string
	at      time.Time
}

// ClaimBlobs begins the deletion of objects that were condemned before the time
// given and still are: nobody else deletes them, and who asks for them waits. The
// deletions must be over BlobDeletion after the call began, by a clock that does
// not jump.
func (s *Store) ClaimBlobs(ctx context.Context, organizationID string, digests []string, condemnedBefore time.Time) (BlobClaim, error) {
	var claim BlobClaim
	keys, err := blobKeys(digests)
	if err != nil || len(keys) == 0 {
		return claim, err
	}
	err = s.withConn(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `
			WITH free AS (
				SELECT digest FROM condemned_blobs WHERE organization_id = $1 AND digest = ANY($2) AND condemned_at < $3
					AND (deleting_at IS NULL OR deleting_at < clock_timestamp() - $4::interval)
				ORDER BY digest FOR UPDATE
			)
			UPDATE condemned_blobs SET deleting_at = statement_timestamp() WHERE organization_id = $1 AND digest IN (SELECT digest FROM free)
			RETURNING digest, deleting_at`,
			organizationID, keys, condemnedBefore, deletingFor)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var digest []byte
			if err := rows.Scan(&digest, &claim.at); err != nil {
				return err
			}
			claim.Digests = append(claim.Digests, hex.EncodeToString(digest))
		}
		return rows.Err()
	})
	return claim, err
}

// SettleBlobs notes which of the claimed objects are deleted. What became of the
// others is not known: who asks for them waits until it cannot happen any more.
func (s *Store) SettleBlobs(ctx context.Context, organizationID string, claim BlobClaim, deleted []string) error {
	keys, err := blobKeys(deleted)
	if err != nil || len(keys) == 0 {
		return err
	}
	return s.withConn(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `DELETE FROM condemned_blobs WHERE organization_id = $1 AND digest IN (
			SELECT digest FROM condemned_blobs WHERE organization_id = $1 AND digest = ANY($2) AND deleting_at = $3 ORDER BY digest FOR UPDATE)`,
			organizationID, keys, claim.at)
		return err
	})
}

// LeaseCollection picks an organization, or one that was, whose objects were not
// looked at for the time given, and gives it to the caller alone for the lease.
// ok is false when there is none.
func (s *Store) LeaseCollection(ctx context.Context, every, lease time.Duration) (organizationID string, ok bool, err error) {
	err = s.withConn(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `UPDATE blob_collections SET leased_until = now() + $2::interval WHERE organization_id = (
				SELECT organization_id FROM blob_collections
				WHERE leased_until <= now() AND (collected_at IS NULL OR collected_at <= now() - $1::interval)
				ORDER BY collected_at NULLS FIRST, organization_id LIMIT 1 FOR UPDATE SKIP LOCKED)
			RETURNING organization_id`, every, lease).Scan(&organizationID)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return "", false, nil
	}
	return organizationID, err == nil, err
}

// ExtendCollection keeps an organization for the lease from now on.
func (s *Store) ExtendCollection(ctx context.Context, organizationID string, lease time.Duration) error {
	return s.withConn(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "UPDATE blob_collections SET leased_until = now() + $2::interval WHERE organization_id = $1", organizationID, lease)
		return err
	})
}

// EndCollection notes that an organization's objects were looked at; it is due
// again the usual time later.
func (s *Store) EndCollection(ctx context.Context, organizationID string) error {
	return dbError(s.with(ctx).Exec("UPDATE blob_collections SET collected_at = now(), leased_until = now() WHERE organization_id = ?", organizationID).Error)
}

// ForgetCollection ends the looks at what an organization that is gone has left.
func (s *Store) ForgetCollection(ctx context.Context, organizationID string) error {
	return dbError(s.with(ctx).Exec("DELETE FROM blob_collections c WHERE organization_id = ? AND NOT EXISTS (SELECT FROM organizations o WHERE o.id = c.organization_id)", organizationID).Error)
}

func blobKeys(digests []string) ([][]byte, error) {
	keys := make([][]byte, len(digests))
	for i, digest := range digests {
		var err error
		if keys[i], err = hex.DecodeString(digest); err != nil {
			return nil, Wrap(CodeValidation, err, fmt.Sprintf("%q is not a digest.", digest))
		}
	}
	return keys, nil
}

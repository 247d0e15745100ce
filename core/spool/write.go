package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pipehook/pipehook/core/failpoint"
)

const (
	maxBatch      = 256 // events that share a sync
	maxBatchBytes = 4 << 20
)

// writeLoop writes what comes until ctx ends, and then what is still waiting. What arrives while the
// disk is busy shares the next sync.
func (s *Spool) writeLoop(ctx context.Context) {
	for {
		select {
		case k := <-s.entries:
			s.write(s.gather(k))
			continue
		case <-ctx.Done():
		}
		select {
		case k := <-s.entries:
			s.write(s.gather(k))
		default:
			return
		}
	}
}

func (s *Spool) gather(first *kept) []*kept {
	batch, size := []*kept{first}, len(first.record)
	for len(batch) < maxBatch && size < maxBatchBytes {
		select {
		case k := <-s.entries:
			batch, size = append(batch, k), size+len(k.record)
			continue
		default:
		}
		break
	}
	return batch
}

// write puts the batch on disk and answers it.
func (s *Spool) write(batch []*kept) {
	err := s.store(batch)
	for _, k := range batch {
		k.err = err
		close(k.done)
	}
}

func (s *Spool) store(batch []*kept) error {
	var data []byte
	for _, k := range batch {
		data = append(data, k.record...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.append(data)
	if err != nil {
		if s.state.Full == nil {
			s.opts.Log.Error("the spool can't keep events; senders are told to try again", "dir", s.opts.Dir, "err", err)
		}
		s.state.Full = err
		return err
	}
	s.state.Full = nil
	s.leave(batch[0].cause)
	return nil
}

// append writes data behind the last file's records and syncs it. After a failure nothing is
// known of the file's end, so the next try begins another one. The lock is held.
func (s *Spool) append(data []byte) error {
	if limit := s.limits.Load().MaxBytes; s.state.Bytes+int64(len(data)) > limit {
		return fmt.Errorf("the spool holds %d bytes and may hold %d", s.state.Bytes, limit)
	}
	if s.out == nil {
		path := filepath.Join(s.opts.Dir, segmentName(s.next))
		out, err := create(path)
		if err != nil {
			return err
		}
		s.next++
		s.out, s.segments = out, append(s.segments, &segment{path: path})
	}
	seg := s.segments[len(s.segments)-1]
	_, err := s.out.Write(data)
	failpoint.Pass(failpoint.SpoolWritten)
	if err == nil {
		err = s.out.Sync()
	}
	failpoint.Pass(failpoint.SpoolSynced)
	if err != nil {
		// What may stand there was not acknowledged.
		err = errors.Join(err, s.seal())
		if seg.size > 0 {
			return errors.Join(err, os.Truncate(seg.path, seg.size))
		}
		s.segments = s.segments[:len(s.segments)-1]
		return errors.Join(err, os.Remove(seg.path))
	}
	seg.size += int64(len(data))
	s.state.Bytes += int64(len(data))
	if seg.size >= segmentSize {
		return s.seal()
	}
	return nil
}

// seal makes the next event begin a new file. The lock is held.
func (s *Spool) seal() error {
	if s.out == nil {
		return nil
	}
	out := s.out
	s.out = nil
	return out.Close()
}

// leave notes that the store is not used directly from now on. The lock is held, or nobody else
// knows s yet.
func (s *Spool) leave(cause error) {
	if s.state.Since.IsZero() {
		s.state.Since, s.state.Cause = time.Now(), cause
		s.waiting.Store(true)
		text := "the store does not take events; they are kept in the spool until it does"
		if errors.Is(cause, errLeft) {
			text = "an earlier process left events in the spool; the store gets them before all others"
		}
		s.opts.Log.Warn(text, "dir", s.opts.Dir, "err", cause)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

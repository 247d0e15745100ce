package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// fileStamp changes with a file. It is zero while there is none.
type fileStamp struct {
	modified, size int64
	inode          uint64 // an older file may have been put in its place
	mode           fs.FileMode
	user, group    uint32
	around         fs.FileMode // of a binary's folder
}

func stampOf(path string) (s fileStamp) {
	info, err := os.Stat(path)
	if err != nil {
		return s
	}
	s.modified, s.size, s.mode = info.ModTime().UnixNano(), info.Size(), info.Mode()
	if own, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode, s.user, s.group = uint64(own.Ino), own.Uid, own.Gid
	}
	return s
}

// binaryStamp changes with a binary, and with whether it may be started: chmod mends what keeps a file from
// being used, the folder's too.
func binaryStamp(path string) fileStamp {
	s := stampOf(path)
	if info, err := os.Stat(filepath.Dir(path)); err == nil && s.inode != 0 {
		s.around = info.Mode()
	}
	return s
}

// copying is how many looks in a row must find the same of a file that is written over in place. One
// that was put in the place of another is whole at the second.
const copying = 4

// seenFile is a binary as it was found last.
type seenFile struct {
	stamp fileStamp
	alike int // so often in a row
}

// again looks at the file once more.
func (f seenFile) again(path string) seenFile {
	is := seenFile{binaryStamp(path), 1}
	if f.stamp == is.stamp {
		is.alike += f.alike
	}
	return is
}

// replaces reports whether there is another file than the one that was taken, and whether it is whole.
func (f seenFile) replaces(taken fileStamp, path string) bool {
	looks := 2
	if taken.inode == f.stamp.inode {
		looks = copying
	}
	return f.stamp.inode != 0 && taken != f.stamp && f.alike >= looks && !beingWritten(path)
}

// watch replaces plugins whose binaries are replaced, until ctx ends. It looks as the keeper of the
// configuration does, and for the same reason.
func (s *pluginSet) watch(ctx context.Context) {
	var working sync.WaitGroup
	defer working.Wait()
	tick := time.NewTicker(look)
	defer tick.Stop()
	seen, busy := map[string]seenFile{}, map[string]chan struct{}{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for path, users := range s.byPath() {
			select {
			case <-busy[path]:
				delete(busy, path)
			default:
				if busy[path] != nil {
					continue
				}
			}
			is := seen[path].again(path)
			seen[path] = is
			if is.stamp.inode == 0 && is.alike == copying && users[0].code() != "" {
				s.log.Warn("the plugin's file is gone; what runs goes on, but after the next start of pipehook the plugin does not run", "plugin", users[0].spec.File(), "binary", path)
			}
			stale := changed(users, is)
			if len(stale) == 0 {
				continue
			}
			done := make(chan struct{})
			busy[path] = done
			working.Go(func() { // one for each file, ends with ctx
				defer close(done)
				s.renew(ctx, is.stamp, stale)
			})
		}
	}
}

// byPath are the plugins by the files that they are started from, of each in the file's order.
func (s *pluginSet) byPath() map[string][]*runningPlugin {
	all := map[string][]*runningPlugin{}
	for _, r := range s.all() {
		if r.spec.Attach == nil { // else the file is not what runs
			all[r.spec.Path] = append(all[r.spec.Path], r)
		}
	}
	for _, users := range all {
		slices.SortFunc(users, func(a, b *runningPlugin) int { return cmp.Compare(a.stands().plugin, b.stands().plugin) })
	}
	return all
}

// changed are those that have not taken the file as it is, once it is whole.
func changed(users []*runningPlugin, is seenFile) (stale []*runningPlugin) {
	for _, r := range users {
		if is.replaces(r.taken(), r.spec.Path) {
			stale = append(stale, r)
		}
	}
	return stale
}

// renew gives those who use a file the one that is there now, one after another: a machine that starts
// many processes at once does nothing else. What does not start for one of them for a reason that is not
// its configuration starts for none.
func (s *pluginSet) renew(ctx context.Context, file fileStamp, users []*runningPlugin) {
	var renewed []string
	var broken error
	for _, r := range users {
		r.took(file)
		switch {
		case ctx.Err() != nil:
			continue
		case broken != nil:
			r.refuse(broken)
			continue
		}
		next, err := s.successor(ctx, r)
		switch {
		case next != nil:
			if s.replace(r, next) && r.spec.Kind == wire.Listener {
				renewed = append(renewed, r.spec.Name)
			}
		case err != nil && ctx.Err() == nil:
			r.refuse(err)
			meanwhile := "the old one goes on"
			if r.plugin().State().Word != plughost.Running {
				meanwhile = r.meanwhile()
			}
			s.complain(s.conf(), r, "the plugin's new file is not used; "+meanwhile, err)
			if !isMistake(err) && !isPinned(err) {
				broken = err
			}
		}
	}
	if len(renewed) > 0 && s.told != nil {
		s.told(renewed)
	}
}

func isPinned(err error) bool {
	bad, ok := errors.AsType[*plughost.BinaryError](err)
	return ok && bad.Checksum
}

// successor starts the file as it is now beside what runs, and returns it once it does. It is nil when
// the file is what runs.
func (s *pluginSet) successor(ctx context.Context, r *runningPlugin) (*plughost.Plugin, error) {
	sum, err := plughost.Check(r.spec.Path, r.spec.SHA256)
	if err != nil {
		return nil, err
	}
	if sum == r.plugin().SHA256() {
		return nil, nil
	}
	next := s.host.Try(r.spec)
	if err := next.Ready(ctx); err != nil {
		next.Stop(ctx) // it has no calls
		return nil, err
	}
	return next, nil
}

// replace gives all calls from now on to another process, and ends the old one after those that it has.
func (s *pluginSet) replace(r *runningPlugin, next *plughost.Plugin) bool {
	from := r.code()
	old, ok := r.swap(next)
	if !ok { // a reload was faster
		next.Stop(context.Background())
		return false
	}
	s.log.Info("plugin replaced", "plugin", r.spec.File(), r.spec.Kind, r.spec.Name, "from", from, "to", next.Code())
	s.leaving.Go(old.finish)
	return true
}

// missedFiles are the binaries of a configuration that was not taken, as they were then and are now.
type missedFiles map[string]*missedFile

type missedFile struct {
	taken fileStamp
	seen  seenFile
}

func missedBy(conf *config.Config) missedFiles {
	uses, _ := listenerPlugins(conf)
	chain := bareDraft(conf)
	_, _ = assemble(conf, bareDeps(conf), chain) // what is wrong otherwise has been said
	m := missedFiles{}
	for _, use := range append(uses, chain.plugins...) {
		m[use.spec.Path] = &missedFile{taken: binaryStamp(use.spec.Path)}
	}
	return m
}

// changed looks at them again, and reports whether another one is whole, with which the configuration may
// be taken.
func (m missedFiles) changed() (found bool) {
	for path, f := range m {
		f.seen = f.seen.again(path)
		found = found || f.seen.replaces(f.taken, path)
	}
	return found
}

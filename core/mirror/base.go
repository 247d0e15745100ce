package mirror

import "time"

// base is what comparisons of an object start from.
type base struct {
	Since  time.Time `json:"since,omitzero"`  // when the fill read only what changed from then on
	Filled time.Time `json:"filled,omitzero"` // when the last fill began: of parts it read those of all deals that the tables had
	Cursor time.Time `json:"cursor,omitzero"` // all that changed before is compared
	Swept  time.Time `json:"swept,omitzero"`  // when all ids were compared last
	Again  []string  `json:"again,omitempty"` // that could not be told of yet, and will not be listed since Cursor
}

func baseName(object string) string { return "base." + object }

// filled notes that the tables have what a fill has read.
func (b *base) filled(s fillState) {
	b.Filled = s.Began
	first := b.Cursor.IsZero()
	if first {
		b.Cursor = s.Began
	}
	if s.Since.IsZero() || first || s.Since.Before(b.Since) {
		b.Since = s.Since
	}
}

// covers reports whether the tables should have a record that was last changed then.
func (b *base) covers(changed time.Time) bool { return b.Since.IsZero() || !changed.Before(b.Since) }

package mirror

import (
	"context"
	"fmt"

	"github.com/pipehook/pipehook/core"
)

// account is whose records the tables have.
type account struct {
	CompanyID string `json:"companyId"`
	Host      string `json:"host"`
}

// accountName is where it is kept.
const accountName = "account"

// belong refuses another company than the one that the tables are of. Its records have the same ids, so that they would be
// taken for changes, and for deletions, of those that are here. The first to fill or to compare the tables says whose they
// are; a company whose host is another now is the same.
func (m *Mirror) belong(ctx context.Context, companyID, host string, dryRun bool) error {
	var is account
	if companyID == "" {
		return nil
	}
	if err := m.load(ctx, accountName, &is); err != nil {
		return err
	}
	if is.CompanyID != "" && is.CompanyID != companyID {
		away := "drop its tables pipedrive_*"
		if m.loc.SQLite {
			away = "delete the file " + m.loc.Path + " while nobody serves"
		}
		return &core.Error{Kind: core.Conflict, Msg: fmt.Sprintf("the local tables are of the company %s (%s), and the account is of %s (%s): set another pipedrive.sync.database, or %s",
			is.CompanyID, is.Host, companyID, host, away)}
	}
	if now := (account{companyID, host}); now != is && !dryRun {
		return m.save(ctx, accountName, now)
	}
	return nil
}

// owner is the company that the tables are of, empty as long as nobody has said so. It stays the same for as long as they are
// open.
func (m *Mirror) owner(ctx context.Context) (string, error) {
	if known := m.company.Load(); known != nil {
		return *known, nil
	}
	var is account
	if err := m.load(ctx, accountName, &is); err != nil || is.CompanyID == "" {
		return "", err
	}
	m.company.Store(&is.CompanyID)
	return is.CompanyID, nil
}

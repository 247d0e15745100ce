package pipedrive

import (
	"context"
	"encoding/json"
	"net/http"
)

// Me is the user whom the credentials belong to.
type Me struct {
	ID, CompanyID                    int64
	CompanyName, CompanyDomain       string // the domain is the name before .pipedrive.com
	Name, Email, TimezoneName, Local string // Local is the language and country, such as en_US
	Admin, Active                    bool
}

const me = "/api/v1/users/me"

// Me asks who the credentials belong to. It costs 2 tokens.
func (c *Client) Me(ctx context.Context) (Me, error) {
	r, err := c.Do(ctx, Request{Op: "ask who the token belongs to", Path: me})
	if err != nil {
		return Me{}, err
	}
	var u struct {
		ID            loose  `json:"id"`
		CompanyID     loose  `json:"company_id"`
		CompanyName   string `json:"company_name"`
		CompanyDomain string `json:"company_domain"`
		Name          string `json:"name"`
		Email         string `json:"email"`
		TimezoneName  string `json:"timezone_name"`
		Locale        string `json:"locale"`
		Admin         loose  `json:"is_admin"`
		Active        loose  `json:"active_flag"`
	}
	if json.Unmarshal(r.Data, &u) != nil || u.ID.int() == 0 {
		return Me{}, &Error{Op: "ask who the token belongs to", Method: http.MethodGet, Path: me, Status: r.Status, Reason: Garbled, Msg: "this is no user"}
	}
	return Me{
		ID: u.ID.int(), CompanyID: u.CompanyID.int(), CompanyName: u.CompanyName, CompanyDomain: u.CompanyDomain, Name: u.Name,
		Email: u.Email, TimezoneName: u.TimezoneName, Local: u.Locale, Admin: u.Admin.bool(), Active: u.Active.bool(),
	}, nil
}

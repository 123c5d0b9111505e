package api

import (
	"context"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/clientaddr"
	"github.com/slipwayhq/slipway/models"
)

// devicePage is where a person confirms a code.
const devicePage = "/app/device"

// DeviceCodeRequest is the body of POST /device/code.
type DeviceCodeRequest struct {
	ClientName string       `json:"clientName,omitempty" maxLength:"400" doc:"What asks, for the person to know it by, such as the computer's name" example:"ada-laptop"`
	Scope      models.Scope `json:"scope,omitempty" enum:"read,deploy,admin" default:"deploy" doc:"What the token is to be used for; the person may give another" example:"deploy"`
}

// DeviceCode is what a program needs to wait for its person (RFC 8628 §3.2).
type DeviceCode struct {
	DeviceCode              string `json:"deviceCode" doc:"Secret of the program, for POST /device/token" example:"sld_q7Xk2AwHqS1fJm3cYb9eRt5uVx8zKd0gLn4pQw6sTyE"`
	UserCode                string `json:"userCode" doc:"What the person compares or types" example:"BCDF-GHJK"`
	VerificationURI         string `json:"verificationUri" doc:"Where the person types it" example:"https://slipway.example.com/app/device"`
	VerificationURIComplete string `json:"verificationUriComplete" doc:"The same with the code in it" example:"https://slipway.example.com/app/device?code=BCDF-GHJK"`
	ExpiresIn               int    `json:"expiresIn" doc:"Seconds until the codes end" example:"900"`
	Interval                int    `json:"interval" doc:"Seconds to wait between two questions; five more after each SLOW_DOWN" example:"5"`
}

// DeviceTokenRequest is the body of POST /device/token.
type DeviceTokenRequest struct {
	DeviceCode string `json:"deviceCode" minLength:"1" maxLength:"128" doc:"deviceCode of POST /device/code" example:"sld_q7Xk2AwHqS1fJm3cYb9eRt5uVx8zKd0gLn4pQw6sTyE"`
}

// DeviceToken is the token a device was given, with whose it is.
type DeviceToken struct {
	Token  string       `json:"token" doc:"The API token, shown this once" example:"slp_q7Xk2AwHqS1fJm3cYb9eRt5uVx8zKd0gLn4pQw6sTyE"`
	Scope  models.Scope `json:"scope" enum:"read,deploy,admin" doc:"What it may be used for" example:"deploy"`
	Expiry time.Time    `json:"expiresAt" doc:"When it ends" example:"2025-10-20T10:30:00Z"`
	OrgID  string       `json:"orgId" doc:"The organization it acts in" example:"org_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	UserID string       `json:"userId" doc:"The user it acts as" example:"usr_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	ID     string       `json:"tokenId" doc:"The token's id, to revoke it" example:"tok_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

// Device is a device's request as the person asked sees it.
type Device struct {
	UserCode   string              `json:"userCode" doc:"The code; compare it with what the program shows" example:"BCDF-GHJK"`
	ClientName string              `json:"clientName" doc:"What the program calls itself; anybody can choose any name" example:"ada-laptop"`
	Address    string              `json:"address" doc:"Where it asked from" example:"203.0.113.7"`
	Scope      models.Scope        `json:"scope" enum:"read,deploy,admin" doc:"What it asked for" example:"deploy"`
	Status     models.DeviceStatus `json:"status" enum:"pending,approved,denied" doc:"Whether it was answered" example:"pending"`
	CreatedAt  time.Time           `json:"createdAt" doc:"When it asked" example:"2025-07-22T10:30:00Z"`
	ExpiresAt  time.Time           `json:"expiresAt" doc:"When the code ends" example:"2025-07-22T10:45:00Z"`
}

// ApproveDeviceRequest is the body of POST /device/{userCode}/approve.
type ApproveDeviceRequest struct {
	OrgID string       `json:"orgId" maxLength:"64" doc:"The organization it may act in" example:"org_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Scope models.Scope `json:"scope" enum:"read,deploy,admin" doc:"What it may do there, within your role" example:"deploy"`
}

type deviceCodeInput struct{ Body DeviceCodeRequest }

type deviceCodeOutput struct{ Body DeviceCode }

type deviceTokenInput struct{ Body DeviceTokenRequest }

type deviceTokenOutput struct{ Body DeviceToken }

type deviceInput struct {
	UserCode string `path:"userCode" maxLength:"32" doc:"The code, with or without the hyphen, in any case" example:"BCDF-GHJK"`
}

type approveDeviceInput struct {
	UserCode string `path:"userCode" maxLength:"32" doc:"The code, with or without the hyphen, in any case" example:"BCDF-GHJK"`
	Body     ApproveDeviceRequest
}

type deviceOutput struct{ Body Device }

func (s *Server) registerDevices() {
	const path = "/device/{userCode}"
	answers := []models.Code{models.CodeNotFound, models.CodeConflict}
	register(s, route{
		id: "create-device-code", method: http.MethodPost, path: "/device/code", tag: "Devices", maxBody: 16 << 10,
		summary: "Begin to sign a program in",
		description: "The first step of the device authorization grant (RFC 8628) that `slipway login` goes through: the program shows the code, " +
			"its person confirms it in a browser, and POST /device/token gives the program a token.",
		errors: []models.Code{models.CodeDatabase},
	}, s.createDeviceCode)
	register(s, route{
		id: "create-device-token", method: http.MethodPost, path: "/device/token", tag: "Devices", maxBody: 16 << 10,
		summary: "Ask for the token of a program that was confirmed",
		description: "AUTHORIZATION_PENDING until the person has answered: ask again after `interval` seconds. SLOW_DOWN: wait five seconds longer from now on. " +
			"ACCESS_DENIED and EXPIRED_TOKEN end it. The token is given once; it ends after 90 days.",
		errors: []models.Code{models.CodeAuthorizationPending, models.CodeSlowDown, models.CodeAccessDenied, models.CodeExpiredToken, models.CodeDatabase},
	}, s.createDeviceToken)
	register(s, route{
		id: "get-device", method: http.MethodGet, path: path, tag: "Devices",
		summary: "A program that wants to be signed in", errors: []models.Code{models.CodeNotFound},
	}, s.device)
	register(s, route{
		id: "approve-device", method: http.MethodPost, path: path + "/approve", tag: "Devices", status: http.StatusNoContent, maxBody: 16 << 10,
		summary: "Sign a program in", description: "It gets a token of yours for that organization and scope.",
		errors: append(answers, models.CodeOrganizationNotFound),
	}, s.approveDevice)
	register(s, route{
		id: "deny-device", method: http.MethodPost, path: path + "/deny", tag: "Devices", status: http.StatusNoContent,
		summary: "Refuse a program", errors: answers,
	}, s.denyDevice)
}

func (s *Server) createDeviceCode(ctx context.Context, in *deviceCodeInput) (*deviceCodeOutput, error) {
	name := in.Body.ClientName
	if name != "" {
		var err error
		if name, err = displayName("clientName", name); err != nil {
			return nil, err
		}
	}
	row, secret, err := s.opts.Store.RequestDevice(ctx, name, clientaddr.String(clientaddr.From(ctx)), in.Body.Scope)
	if err != nil {
		return nil, err
	}
	code := models.ShowUserCode(row.UserCode)
	return &deviceCodeOutput{DeviceCode{
		DeviceCode: secret, UserCode: code, VerificationURI: s.opts.AppURL + devicePage, VerificationURIComplete: s.opts.AppURL + devicePage + "?code=" + code,
		ExpiresIn: int(models.DeviceTTL.Seconds()), Interval: int(s.opts.Limits.DeviceInterval.Seconds()),
	}}, nil
}

func (s *Server) createDeviceToken(ctx context.Context, in *deviceTokenInput) (*deviceTokenOutput, error) {
	// A program that keeps to the interval exactly must not be too early by what
	// its request took less than the one before.
	row, secret, err := s.opts.Store.RedeemDevice(ctx, in.Body.DeviceCode, s.opts.Limits.DeviceInterval*4/5)
	if err != nil {
		return nil, err
	}
	return &deviceTokenOutput{DeviceToken{
		Token: secret, Scope: row.Scope, Expiry: stamp(*row.ExpiresAt), OrgID: row.OrganizationID, UserID: row.UserID, ID: row.ID,
	}}, nil
}

func (s *Server) device(ctx context.Context, in *deviceInput) (*deviceOutput, error) {
	code, err := userCode(in.UserCode)
	if err != nil {
		return nil, err
	}
	row, err := s.opts.Store.DeviceByCode(ctx, code)
	if err != nil {
		return nil, err
	}
	return &deviceOutput{Device{
		UserCode: models.ShowUserCode(row.UserCode), ClientName: row.ClientName, Address: row.IPAddress, Scope: row.Scope, Status: row.Status,
		CreatedAt: stamp(row.CreatedAt), ExpiresAt: stamp(row.ExpiresAt),
	}}, nil
}

func (s *Server) approveDevice(ctx context.Context, in *approveDeviceInput) (*emptyOutput, error) {
	code, err := userCode(in.UserCode)
	if err != nil {
		return nil, err
	}
	if !models.ValidID(models.PrefixOrganization, in.Body.OrgID) {
		return nil, models.NoOrganization(shorten(in.Body.OrgID))
	}
	if err := s.opts.Store.ApproveDevice(ctx, code, identityOf(ctx).UserID, in.Body.OrgID, in.Body.Scope); err != nil {
		return nil, err
	}
	// A token of that organization comes of it.
	noteOrganization(ctx, in.Body.OrgID)
	noteTarget(ctx, "scope", string(in.Body.Scope))
	return &emptyOutput{}, nil
}

func (s *Server) denyDevice(ctx context.Context, in *deviceInput) (*emptyOutput, error) {
	code, err := userCode(in.UserCode)
	if err != nil {
		return nil, err
	}
	return &emptyOutput{}, s.opts.Store.DenyDevice(ctx, code)
}

func userCode(typed string) (string, error) {
	code, ok := models.FoldUserCode(typed)
	if !ok {
		return "", models.Errorf(models.CodeNotFound, "%q is no code; one looks like BCDF-GHJK.", shorten(typed))
	}
	return code, nil
}

package models

import "context"

// MembershipOf gives the membership that a person's request goes by: of the
// organization wanted, which must be theirs, else CodeOrganizationNotFound; with
// wanted "" of the one preferred, and where they are no member of that, of the
// first they joined.
func (s *Store) MembershipOf(ctx context.Context, userID, wanted, preferred string) (Membership, error) {
	query := s.with(ctx).Where("user_id = ?", userID)
	if wanted != "" {
		query = query.Where("organization_id = ?", wanted)
	}
	var rows []Membership
	err := query.Order("created_at, organization_id").Find(&rows).Error
	if err != nil {
		return Membership{}, dbError(err)
	}
	if len(rows) == 0 && wanted != "" {
		return Membership{}, Errorf(CodeOrganizationNotFound, "There is no organization %q that you belong to.", wanted)
	}
	if len(rows) == 0 {
		return Membership{}, Errorf(CodeOrganizationNotFound, "You belong to no organization yet. Make one, or accept an invitation.")
	}
	for _, row := range rows {
		if row.OrganizationID == preferred {
			return row, nil
		}
	}
	return rows[0], nil
}

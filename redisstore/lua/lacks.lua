-- Answers what the user may not use of all that the audit trail takes, and nothing if that is nothing.
return {OK, lacks() or '', 0}

-- The accounts of the services that every server has, see core/src/policy/service.rs. They are grantees like people; nobody
-- logs in with them, as they have no password and their addresses cannot have one mailed.

INSERT INTO accounts (account, email, role) VALUES
    ('f17e0000-0000-8000-8000-000000000001', 'insights@service.invalid', 'service'),
    ('f17e0000-0000-8000-8000-000000000002', 'notifications@service.invalid', 'service');

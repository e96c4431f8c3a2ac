-- How far the server's clock was ahead of the device's when the session began in which it pushed the entry, in ms: with
-- device_time and received_at it tells when something was written by a clock that was wrong. NULL where the device did not say.
SET LOCAL lock_timeout = '2s';

ALTER TABLE entries ADD COLUMN clock_offset_ms bigint;

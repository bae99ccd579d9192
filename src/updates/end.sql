-- The end of each update: streams get the shape of the new version.
SELECT meter_internal.upgrade_streams();

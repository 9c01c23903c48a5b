-- Needs: keys

-- A full server (OOM) refuses a script whose first write may take memory, and lets one go on whose first write takes none.
-- What settles, claims and renews begins with such a write: else a full server could never be emptied.
local function go_on_when_full() redis.call('DEL', key('nothing')) end

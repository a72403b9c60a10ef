// Put before the programs that go from tile to tile (winograd_input, winograd_output): which tile an invocation has.
//
// Tiles are counted as planes × rows × columns, and have as many places, and some more that only fill up the last block of the
// program that multiplies. Places come in runs of `run`: (runs, channels, places of a run) is the order of the invocations, and
// (runs, positions in the tile, channels, places of a run) that of the transformed numbers. So where a run is what the program
// that multiplies takes at a time, all that it reads or writes at a time lies together.

const WORKGROUP: u32 = 64u;

struct Place {
    channel: u32,
    // Of the number at the tile's first position, and from one position to the next.
    first: u32,
    step: u32,
    plane: u32,
    // Within the plane, in tiles.
    row: u32,
    column: u32,
    // Whether there is such a tile. Another one stands in for those that are none.
    live: bool,
}

// A number of tiles from the first one on, as planes, rows and columns.
fn tile_of(count: u32, rows: u32, columns: u32) -> vec3u {
    let all_rows = count / columns;
    return vec3u(all_rows / rows, all_rows % rows, count % columns);
}

// Divided out once for the workgroup; an invocation counts on from there. `places` is a multiple of `run`, of which there is one,
// or of at most 28 places: a workgroup of one channel then counts less than 128 on.
fn place_of(
    workgroup: vec3u, local: u32, channels: u32, places: u32, run: u32, planes: u32, rows: u32, columns: u32,
) -> Place {
    let last = channels * places - 1u;
    let wanted = tile_index(workgroup) * WORKGROUP;
    let first = min(wanted, last);
    let ahead = min(local, last - first);
    let step = channels * run;
    let start_run = first / step;
    let start_channel = first % step / run;
    let start = first % run;

    let lines_ahead = small_quotient(start + ahead, run);
    let in_run = start + ahead - lines_ahead * run;
    let runs_ahead = small_quotient(start_channel + lines_ahead, channels);
    // In a channel or run other than the first it counts from the first run's first tile on.
    let same = lines_ahead == 0u;
    let on = select(runs_ahead * run + in_run, ahead, same);
    let base = select(tile_of(start_run * run, rows, columns), tile_of(start_run * run + start, rows, columns), same);
    let along = base.z + on;
    let rows_ahead = small_quotient(along, columns);
    let down = base.y + rows_ahead;
    let planes_ahead = small_quotient(down, rows);
    let plane = base.x + planes_ahead;

    let channel = start_channel + lines_ahead - runs_ahead * channels;
    var place: Place;
    place.channel = channel;
    place.first = (start_run + runs_ahead) * (SIDE_H * SIDE_W) * step + channel * run + in_run;
    place.step = step;
    place.plane = min(plane, planes - 1u);
    place.row = down - planes_ahead * rows;
    place.column = along - rows_ahead * columns;
    place.live = (wanted + local <= last) & (plane < planes);
    return place;
}

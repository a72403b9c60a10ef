// Put before the programs that go from tile to tile (winograd_input, winograd_output): which tile an invocation has.
//
// Channel by channel there are `step` places: planes × rows × columns of tiles, and places that only fill up the last block of
// the program that multiplies.

const WORKGROUP: u32 = 64u;

struct Place {
    channel: u32,
    // Counts the places of all channels.
    index: u32,
    plane: u32,
    // Within the plane, in tiles.
    row: u32,
    column: u32,
    // Whether there is such a tile. Another one stands in for those that are none.
    live: bool,
}

// Divided out once for the workgroup; an invocation counts on from there.
fn place_of(workgroup: vec3u, local: u32, channels: u32, step: u32, planes: u32, rows: u32, columns: u32) -> Place {
    let last = channels * step - 1u;
    let wanted = tile_index(workgroup) * WORKGROUP;
    let first = min(wanted, last);
    let ahead = min(local, last - first);
    let start = first % step;
    let start_row = start / columns;
    let channels_ahead = small_quotient(start + ahead, step);
    // In a later channel it counts from that one's first tile on.
    let same = channels_ahead == 0u;
    let on = select(start + ahead - channels_ahead * step, ahead, same);
    let along = select(0u, start % columns, same) + on;
    let rows_ahead = small_quotient(along, columns);
    let down = select(0u, start_row % rows, same) + rows_ahead;
    let planes_ahead = small_quotient(down, rows);
    let plane = select(0u, start_row / rows, same) + planes_ahead;
    var place: Place;
    place.channel = first / step + channels_ahead;
    place.index = first + ahead;
    place.plane = min(plane, planes - 1u);
    place.row = down - planes_ahead * rows;
    place.column = along - rows_ahead * columns;
    place.live = (wanted + local <= last) & (plane < planes);
    return place;
}

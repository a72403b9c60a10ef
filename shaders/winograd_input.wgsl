// winograd_input: the input transform of Winograd's algorithm. One invocation transforms a tile of an input channel, of which
// neighbours overlap by two rows or columns, and writes SIDE_H × SIDE_W numbers for a 1x1 convolution to read, in the order that
// `winograd_tiles.wgsl` says.
//
// Behind `common.wgsl`, `winograd.wgsl` and `winograd_tiles.wgsl`. Input sizes, distances, padding and mode are those of the
// convolution; out_depth planes × out_height rows × out_width columns are tiles, the first row is row `in_depth` of the
// plane's tiles; out_channels are input channels, with `plane_pixels` places each, in runs of `out_row`.

@group(0) @binding(5) var<storage, read_write> output: array<f32>;

fn load_output(index: u32) -> Value { return 0.0; }

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let tile = place_of(
        workgroup, local, params.out_channels, params.plane_pixels, params.out_row,
        params.out_depth, params.out_height, params.out_width,
    );
    let top = i32((tile.row + params.in_depth) * TILE_H) - params.pad_top;
    let left = i32(tile.column * TILE_W) - params.pad_left;
    let first = params.input_offset + tile.plane * params.in_image + tile.channel * params.in_channel;

    var at_columns: array<i32, SIDE_W>;
    for (var x = 0u; x < SIDE_W; x++) { // unroll
        at_columns[x] = source(left + i32(x), params.in_width);
    }
    var tiles_rows: array<Side, SIDE_H>;
    for (var y = 0u; y < SIDE_H; y++) { // unroll
        let at_row = source(top + i32(y), params.in_height);
        let row = first + u32(max(at_row, 0)) * params.in_row;
        for (var x = 0u; x < SIDE_W; x++) { // unroll
            // In place of a zero, some element that exists is loaded: every index stays in range.
            let loaded = read_input(row + input_column(u32(max(at_columns[x], 0))));
            tiles_rows[y][x] = select(Value(), loaded, (at_row >= 0) & (at_columns[x] >= 0));
        }
        tiles_rows[y] = of_input(tiles_rows[y], TILE_W);
    }
    if tile.live {
        for (var x = 0u; x < SIDE_W; x++) { // unroll
            var column: Side;
            for (var y = 0u; y < SIDE_H; y++) { // unroll
                column[y] = tiles_rows[y][x];
            }
            column = of_input(column, TILE_H);
            for (var y = 0u; y < SIDE_H; y++) { // unroll
                output[tile.first + (y * SIDE_W + x) * tile.step] = column[y];
            }
        }
    }
}

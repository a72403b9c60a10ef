// winograd_output: the output transform of Winograd's algorithm, and the epilogue. One invocation makes a tile of an output
// channel of the sums of products, which lie in the workspace in the order that `winograd_tiles.wgsl` says, and with splits that
// often.
//
// Behind `common.wgsl`, `epilogue.wgsl`, `winograd.wgsl` and `winograd_tiles.wgsl`. The output is that of the convolution;
// in_image planes × in_height rows × in_width columns are tiles, the first row is row `in_depth` of the plane's tiles; output
// channels have `plane_pixels` places each, in runs of `in_row`.

@group(0) @binding(1) var<storage, read> products: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let tile = place_of(
        workgroup, local, params.out_channels, params.plane_pixels, params.in_row,
        params.in_image, params.in_height, params.in_width,
    );
    let first_y = (tile.row + params.in_depth) * TILE_H;
    let first_x = tile.column * TILE_W;

    var rows: array<Side, SIDE_H>;
    for (var y = 0u; y < SIDE_H; y++) { // unroll
        for (var x = 0u; x < SIDE_W; x++) { // unroll
            rows[y][x] = products[tile.first + (y * SIDE_W + x) * tile.step];
        }
    }
    // Sums that several workgroups share have several parts.
    let part = SIDE_H * SIDE_W * params.out_channels * params.plane_pixels;
    for (var s = 1u; s < params.splits; s++) {
        for (var y = 0u; y < SIDE_H; y++) { // unroll
            for (var x = 0u; x < SIDE_W; x++) { // unroll
                rows[y][x] += products[s * part + tile.first + (y * SIDE_W + x) * tile.step];
            }
        }
    }
    var columns: array<Outputs, SIDE_H>;
    for (var y = 0u; y < SIDE_H; y++) { // unroll
        columns[y] = of_output(rows[y], TILE_W);
    }
    let of_channel = load_channel(tile.channel);
    let first = output_plane(tile.plane, tile.channel) + first_y * params.out_row + output_column(first_x);
    // Outputs that exist: one comparison for each store.
    let rows_left = select(0u, params.out_height - first_y, tile.live);
    let columns_left = params.out_width - first_x;
    for (var x = 0u; x < TILE_W; x++) { // unroll
        var column: Side;
        for (var y = 0u; y < SIDE_H; y++) { // unroll
            column[y] = columns[y][x];
        }
        let sums = of_output(column, TILE_H);
        for (var y = 0u; y < TILE_H; y++) { // unroll
            let at = first + y * params.out_row + output_column(x);
            if (y < rows_left) & (x < columns_left) {
                store(sums[y], of_channel, at);
            }
        }
    }
}

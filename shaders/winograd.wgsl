// Put before the programs of Winograd's algorithm (Lavin and Gray 2015, "Fast algorithms for convolutional neural networks"):
// its transforms along one axis. A convolution with three taps gives TILE outputs of TILE + 2 inputs with TILE + 2 products:
// y = At [(G g) · (Bt d)]. Along an axis with one tap (TILE 1) all three do nothing.
//
// The points of F(2, 3) are 0, 1, -1 and infinity, those of F(4, 3) are 0, ±P, ±Q and infinity. 3/4 and 3/2 keep powers
// of them near one: among the points with short numbers they had the smallest errors (see `benches/README.md`).

// Outputs of a tile along rows and columns: 1, 2 or 4, and the inputs that it takes: 1, or two more.
const TILE_H: u32 = 4u;
const TILE_W: u32 = 4u;
const SIDE_H: u32 = 6u;
const SIDE_W: u32 = 6u;

const P: f32 = 0.75;
const Q: f32 = 1.5;
const PP: f32 = 0.5625;
const QQ: f32 = 2.25;

alias Side = array<f32, 6>;

fn of_input(d: Side, tile: u32) -> Side {
    if tile == 1u {
        return d;
    }
    if tile == 2u {
        return Side(d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1], 0.0, 0.0);
    }
    let p_even = fma(-QQ, d[2], d[4]);
    let p_odd = P * fma(-QQ, d[1], d[3]);
    let q_even = fma(-PP, d[2], d[4]);
    let q_odd = Q * fma(-PP, d[1], d[3]);
    return Side(
        fma(PP * QQ, d[0], fma(-(PP + QQ), d[2], d[4])),
        p_even + p_odd,
        p_even - p_odd,
        q_even + q_odd,
        q_even - q_odd,
        fma(PP * QQ, d[1], fma(-(PP + QQ), d[3], d[5])),
    );
}

// The factors of G's rows, whose inverses make G g the interpolation that At expects: the products of a point's distances from
// the others.
const AT_ZERO: f32 = 1.0 / (PP * QQ);
const AT_P: f32 = 1.0 / (2.0 * PP * (PP - QQ));
const AT_Q: f32 = 1.0 / (2.0 * QQ * (QQ - PP));

fn of_weight(g: array<f32, 3>, tile: u32) -> Side {
    if tile == 1u {
        return Side(g[0], 0.0, 0.0, 0.0, 0.0, 0.0);
    }
    if tile == 2u {
        let even = 0.5 * (g[0] + g[2]);
        let odd = 0.5 * g[1];
        return Side(g[0], even + odd, even - odd, g[2], 0.0, 0.0);
    }
    let p_even = fma(PP, g[2], g[0]);
    let p_odd = P * g[1];
    let q_even = fma(QQ, g[2], g[0]);
    let q_odd = Q * g[1];
    return Side(
        AT_ZERO * g[0],
        AT_P * (p_even + p_odd),
        AT_P * (p_even - p_odd),
        AT_Q * (q_even + q_odd),
        AT_Q * (q_even - q_odd),
        g[2],
    );
}

fn of_output(m: Side, tile: u32) -> array<f32, 4> {
    if tile == 1u {
        return array<f32, 4>(m[0], 0.0, 0.0, 0.0);
    }
    let p_even = m[1] + m[2];
    let p_odd = m[1] - m[2];
    if tile == 2u {
        return array<f32, 4>(m[0] + p_even, p_odd + m[3], 0.0, 0.0);
    }
    let q_even = m[3] + m[4];
    let q_odd = m[3] - m[4];
    return array<f32, 4>(
        m[0] + p_even + q_even,
        fma(P, p_odd, Q * q_odd),
        fma(PP, p_even, QQ * q_even),
        fma(PP * P, p_odd, QQ * Q * q_odd) + m[5],
    );
}

// Put before the programs of Winograd's algorithm (Lavin and Gray 2015, "Fast algorithms for convolutional neural networks"):
// its transforms along one axis. A convolution with three taps gives TILE outputs of TILE + 2 inputs with TILE + 2 products:
// y = At [(G g) · (Bt d)]. Along an axis with one tap (TILE 1) all three do nothing.
//
// The points of F(2, 3) are 0, 1, -1 and infinity, those of F(4, 3) are 0, ±P, ±Q and infinity, those of F(6, 3) 0, ±R, ±1, ±S
// and infinity. Among the points with short numbers these had the smallest errors (see `benches/README.md`).

// Outputs of a tile along rows and columns: 1, 2, 4 or 6, and the inputs that it takes: 1, or two more.
const TILE_H: u32 = 4u;
const TILE_W: u32 = 4u;
const SIDE_H: u32 = 6u;
const SIDE_W: u32 = 6u;

const P: f32 = 0.75;
const Q: f32 = 1.5;
const PP: f32 = 0.5625;
const QQ: f32 = 2.25;

const R: f32 = 0.5;
const S: f32 = 2.0;
const RR: f32 = 0.25;
const SS: f32 = 4.0;

// As many numbers as the largest tile has along an axis.
alias Side = array<f32, 8>;

// Of RR, 1 and SS.
const SUM_OF_PAIRS: f32 = RR + SS + RR * SS;

fn of_input(d: Side, tile: u32) -> Side {
    if tile == 1u {
        return d;
    }
    if tile == 2u {
        return Side(d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1], 0.0, 0.0, 0.0, 0.0);
    }
    if tile == 6u {
        let r_even = fma(SS, d[2], fma(-(1.0 + SS), d[4], d[6]));
        let r_odd = R * fma(SS, d[1], fma(-(1.0 + SS), d[3], d[5]));
        let one_even = fma(RR * SS, d[2], fma(-(RR + SS), d[4], d[6]));
        let one_odd = fma(RR * SS, d[1], fma(-(RR + SS), d[3], d[5]));
        let s_even = fma(RR, d[2], fma(-(RR + 1.0), d[4], d[6]));
        let s_odd = S * fma(RR, d[1], fma(-(RR + 1.0), d[3], d[5]));
        return Side(
            fma(-(RR * SS), d[0], fma(SUM_OF_PAIRS, d[2], fma(-(RR + 1.0 + SS), d[4], d[6]))),
            r_even + r_odd,
            r_even - r_odd,
            one_even + one_odd,
            one_even - one_odd,
            s_even + s_odd,
            s_even - s_odd,
            fma(-(RR * SS), d[1], fma(SUM_OF_PAIRS, d[3], fma(-(RR + 1.0 + SS), d[5], d[7]))),
        );
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
        0.0,
        0.0,
    );
}

// The factors of G's rows, whose inverses make G g the interpolation that At expects: the products of a point's distances from
// the others.
const AT_ZERO: f32 = 1.0 / (PP * QQ);
const AT_P: f32 = 1.0 / (2.0 * PP * (PP - QQ));
const AT_Q: f32 = 1.0 / (2.0 * QQ * (QQ - PP));
const AT_ZERO_OF_6: f32 = -1.0 / (RR * SS);
const AT_R: f32 = 1.0 / (2.0 * RR * (RR - 1.0) * (RR - SS));
const AT_ONE: f32 = 1.0 / (2.0 * (1.0 - RR) * (1.0 - SS));
const AT_S: f32 = 1.0 / (2.0 * SS * (SS - RR) * (SS - 1.0));

fn of_weight(g: array<f32, 3>, tile: u32) -> Side {
    if tile == 1u {
        return Side(g[0], 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    }
    if tile == 2u {
        let even = 0.5 * (g[0] + g[2]);
        let odd = 0.5 * g[1];
        return Side(g[0], even + odd, even - odd, g[2], 0.0, 0.0, 0.0, 0.0);
    }
    if tile == 6u {
        let r_even = fma(RR, g[2], g[0]);
        let r_odd = R * g[1];
        let one_even = g[0] + g[2];
        let s_even = fma(SS, g[2], g[0]);
        let s_odd = S * g[1];
        return Side(
            AT_ZERO_OF_6 * g[0],
            AT_R * (r_even + r_odd),
            AT_R * (r_even - r_odd),
            AT_ONE * (one_even + g[1]),
            AT_ONE * (one_even - g[1]),
            AT_S * (s_even + s_odd),
            AT_S * (s_even - s_odd),
            g[2],
        );
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
        0.0,
        0.0,
    );
}

alias Outputs = array<f32, 6>;

fn of_output(m: Side, tile: u32) -> Outputs {
    if tile == 1u {
        return Outputs(m[0], 0.0, 0.0, 0.0, 0.0, 0.0);
    }
    let first_even = m[1] + m[2];
    let first_odd = m[1] - m[2];
    if tile == 2u {
        return Outputs(m[0] + first_even, first_odd + m[3], 0.0, 0.0, 0.0, 0.0);
    }
    let second_even = m[3] + m[4];
    let second_odd = m[3] - m[4];
    if tile == 4u {
        return Outputs(
            m[0] + first_even + second_even,
            fma(P, first_odd, Q * second_odd),
            fma(PP, first_even, QQ * second_even),
            fma(PP * P, first_odd, QQ * Q * second_odd) + m[5],
            0.0,
            0.0,
        );
    }
    let third_even = m[5] + m[6];
    let third_odd = m[5] - m[6];
    return Outputs(
        m[0] + first_even + second_even + third_even,
        fma(R, first_odd, fma(S, third_odd, second_odd)),
        fma(RR, first_even, fma(SS, third_even, second_even)),
        fma(RR * R, first_odd, fma(SS * S, third_odd, second_odd)),
        fma(RR * RR, first_even, fma(SS * SS, third_even, second_even)),
        fma(RR * RR * R, first_odd, fma(SS * SS * S, third_odd, second_odd)) + m[7],
    );
}

//! Remote-write bodies built field by field, from the specification and not from our own types.

pub const V1_HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "snappy"),
    ("x-prometheus-remote-write-version", "0.1.0"),
];

pub const V2_HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
    ("content-encoding", "snappy"),
    ("x-prometheus-remote-write-version", "2.0.0"),
];

pub fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

/// A protobuf message being built.
#[derive(Default, Clone)]
pub struct Message(pub Vec<u8>);

impl Message {
    pub fn new() -> Message {
        Message::default()
    }

    pub fn varint(mut self, field: u32, value: u64) -> Message {
        self.raw_varint(u64::from(field) << 3);
        self.raw_varint(value);
        self
    }

    /// `int64` and `int32`.
    pub fn int(self, field: u32, value: i64) -> Message {
        self.varint(field, value as u64)
    }

    /// `sint64` and `sint32`.
    pub fn zigzag(self, field: u32, value: i64) -> Message {
        self.varint(field, ((value << 1) ^ (value >> 63)) as u64)
    }

    pub fn double(mut self, field: u32, value: f64) -> Message {
        self.raw_varint(u64::from(field) << 3 | 1);
        self.0.extend_from_slice(&value.to_bits().to_le_bytes());
        self
    }

    pub fn bytes(mut self, field: u32, bytes: &[u8]) -> Message {
        self.raw_varint(u64::from(field) << 3 | 2);
        self.raw_varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn message(self, field: u32, message: Message) -> Message {
        self.bytes(field, &message.0)
    }

    pub fn packed(self, field: u32, values: impl IntoIterator<Item = u64>) -> Message {
        let mut packed = Message::new();
        for value in values {
            packed.raw_varint(value);
        }
        self.bytes(field, &packed.0)
    }

    pub fn packed_doubles(self, field: u32, values: &[f64]) -> Message {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
        self.bytes(field, &bytes)
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// `zigzag` values for [`Message::packed`].
pub fn zigzagged(values: &[i64]) -> Vec<u64> {
    values.iter().map(|value| ((value << 1) ^ (value >> 63)) as u64).collect()
}

/// Remote write 1.0: a `prometheus.WriteRequest` of these series.
pub fn v1_request(series: &[Message]) -> Vec<u8> {
    series.iter().fold(Message::new(), |request, series| request.message(1, series.clone())).0
}

/// Remote write 1.0: a series with float samples of (milliseconds, value).
pub fn v1_series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Message {
    let series = labels.iter().fold(Message::new(), |series, (name, value)| {
        series.message(1, Message::new().bytes(1, name.as_bytes()).bytes(2, value.as_bytes()))
    });
    samples.iter().fold(series, |series, (timestamp, value)| {
        series.message(2, Message::new().double(1, *value).int(2, *timestamp))
    })
}

/// Remote write 1.0: `v1_series` of one request.
pub fn v1(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Vec<u8> {
    v1_request(&[v1_series(labels, samples)])
}

/// Remote write 2.0: the table of symbols and the series that refer to it.
#[derive(Default)]
pub struct V2 {
    symbols: Vec<String>,
    series: Vec<Message>,
}

impl V2 {
    pub fn new() -> V2 {
        V2 { symbols: vec![String::new()], series: Vec::new() }
    }

    pub fn symbol(&mut self, text: &str) -> u64 {
        let known = self.symbols.iter().position(|symbol| symbol == text);
        known.unwrap_or_else(|| {
            self.symbols.push(text.to_owned());
            self.symbols.len() - 1
        }) as u64
    }

    pub fn references(&mut self, labels: &[(&str, &str)]) -> Vec<u64> {
        labels.iter().flat_map(|(name, value)| [self.symbol(name), self.symbol(value)]).collect()
    }

    /// A series with labels alone; fields are added to what `fill` gets.
    pub fn series(&mut self, labels: &[(&str, &str)], fill: impl FnOnce(Message) -> Message) -> &mut V2 {
        let references = self.references(labels);
        self.series.push(fill(Message::new().packed(1, references)));
        self
    }

    pub fn body(&self) -> Vec<u8> {
        let request = self.symbols.iter().fold(Message::new(), |m, symbol| m.bytes(4, symbol.as_bytes()));
        self.series.iter().fold(request, |request, series| request.message(5, series.clone())).0
    }
}

/// Remote write 2.0: one float sample.
pub fn v2_sample(timestamp: i64, value: f64) -> Message {
    Message::new().double(1, value).int(2, timestamp)
}

/// Both versions: an exponential histogram of schema 0 in integers, with buckets (1,2] and (2,4].
pub fn histogram(timestamp: i64, low: u64, high: u64) -> Message {
    Message::new()
        .varint(1, low + high)
        .double(3, (low + 3 * high) as f64)
        .zigzag(4, 0)
        .double(5, 1e-128)
        .varint(6, 0)
        .message(11, Message::new().zigzag(1, 1).varint(2, 2))
        .packed(12, zigzagged(&[low as i64, high as i64 - low as i64]))
        .int(15, timestamp)
}

/// What a field of a message holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    Varint(u64),
    /// Eight bytes, as the bits of a double.
    Fixed(u64),
    Bytes(Vec<u8>),
}

impl Field {
    pub fn int(&self) -> i64 {
        match self {
            Field::Varint(value) | Field::Fixed(value) => *value as i64,
            Field::Bytes(_) => panic!("{self:?} is no number"),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            _ => panic!("{self:?} is no bytes"),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }
}

/// The fields of a message, in the order they came.
pub fn fields(mut bytes: &[u8]) -> Vec<(u32, Field)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Varint(take_varint(&mut bytes)),
            1 => Field::Fixed(u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
            2 => {
                let len = take_varint(&mut bytes) as usize;
                Field::Bytes(take(&mut bytes, len).to_vec())
            }
            wire_type => panic!("wire type {wire_type}"),
        };
        fields.push(((key >> 3) as u32, field));
    }
    fields
}

/// Those of one number.
pub fn all(fields: &[(u32, Field)], number: u32) -> impl Iterator<Item = &Field> {
    fields.iter().filter(move |(n, _)| *n == number).map(|(_, field)| field)
}

/// The only one of a number; 0 where it is left out.
pub fn int(fields: &[(u32, Field)], number: u32) -> i64 {
    all(fields, number).next().map_or(0, Field::int)
}

pub fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

pub fn take<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (head, rest) = bytes.split_at(len);
    *bytes = rest;
    head
}

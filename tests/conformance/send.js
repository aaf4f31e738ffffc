// Calls of one Node.js SDK for one person, as send.py does it for Python.
const { sdk, host, person, skew_s, oversize } = JSON.parse(process.argv[2]);

// The clock of this process may be wrong; the SDK does not know.
const RightDate = Date;
globalThis.Date = class extends RightDate {
  constructor(...given) {
    if (given.length === 0) super(RightDate.now() + skew_s * 1000);
    else super(...given);
  }
  static now() {
    return RightDate.now() + skew_s * 1000;
  }
};

const traits = { email: `${person}@example.com`, city: "Madrid" };
const order = { event: "Order Completed", properties: { total: 3.5 } };
const large = { event: "Photo Sent", properties: { text: "x".repeat(40000) } }; // above 32 KiB
const group = { groupId: "g1", traits: { name: "Acme", email: "office@example.com" } };

function callAll(analytics) {
  analytics.identify({ userId: person, traits });
  analytics.track({ userId: person, ...order });
  if (oversize) analytics.track({ userId: person, ...large });
  analytics.page({ userId: person, name: "Home" });
  analytics.screen({ userId: person, name: "Main" });
  analytics.group({ userId: person, ...group });
  analytics.alias({ userId: person, previousId: `anon-${person}` });
}

const senders = {
  "@segment/analytics-node": async (module) => {
    const analytics = new module.Analytics({ writeKey: "wk", host, path: "/v1/batch" });
    callAll(analytics);
    await analytics.closeAndFlush();
  },
  "@rudderstack/rudder-sdk-node": async (module) => {
    const analytics = new (module.default || module)("wk", { dataPlaneUrl: host });
    callAll(analytics);
    await new Promise((done) => setTimeout(done, 1000));
    await new Promise((done) => analytics.flush(done));
    await new Promise((done) => setTimeout(done, 4000));
  },
  "@jitsu/js": async (module) => {
    const analytics = module.jitsuAnalytics({ host, writeKey: "wk:secret" });
    await analytics.identify(person, traits);
    await analytics.track(order.event, order.properties);
    if (oversize) await analytics.track(large.event, large.properties);
    await analytics.page({ name: "Home" });
    await analytics.group(group.groupId, group.traits);
    await new Promise((done) => setTimeout(done, 1000));
  },
  "@snowplow/node-tracker": async (module) => {
    const tracker = module.newTracker(
      { namespace: "ns", appId: "wk" },
      { endpoint: host, eventMethod: "post", bufferSize: 1 },
    );
    tracker.setUserId(person);
    const schema = "iglu:com.acme/order_completed/jsonschema/1-0-0";
    tracker.track(module.buildSelfDescribingEvent({ event: { schema, data: order.properties } }));
    if (oversize) {
      const event = { schema: schema.replace("order_completed", "photo_sent"), data: large.properties };
      tracker.track(module.buildSelfDescribingEvent({ event }));
    }
    tracker.track(module.buildPageView({ pageUrl: "http://x/y" }));
    for (let time = 0; time < 4; time += 1) {
      await new Promise((done) => setTimeout(done, 400));
      await tracker.flush(); // sends again what was refused
    }
  },
};

senders[sdk](require(sdk)).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);

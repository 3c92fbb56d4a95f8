'use strict';
(() => {
  const place = document.getElementById('checkout');
  const pay = document.getElementById('pay');
  const state = document.getElementById('state');
  const { token, environment, price, reference, package: name, redirect } = place.dataset;
  const say = (text) => { state.textContent = text; };
  if (typeof Paddle === 'undefined') {
    say('Paddle’s payment window could not be loaded. Nothing was bought. Check that nothing blocks it, and run “llmtor buy” again.');
    return;
  }
  let paid = false;
  const open = () => {
    const settings = redirect ? { successUrl: redirect } : {};
    Paddle.Checkout.open({ items: [{ priceId: price, quantity: 1 }], customData: { reference, package: name }, settings });
  };
  if (environment === 'sandbox') Paddle.Environment.set('sandbox');
  Paddle.Initialize({
    token,
    eventCallback: (event) => {
      if (event.name === 'checkout.completed') {
        paid = true;
        pay.disabled = true;
        say('Thank you. The credits come to your account in a moment. You can close this window.');
      } else if (event.name === 'checkout.closed' && !paid) {
        say('Nothing was bought. The button opens the payment window again.');
      } else if (event.name === 'checkout.loaded') {
        say('The payment window is open.');
      }
    },
  });
  pay.addEventListener('click', open);
  pay.disabled = false;
  open();
})();

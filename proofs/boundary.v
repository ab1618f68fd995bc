(** # Where the bound ends

The chapter *Where the bound ends*: the exact range of the weight with one positive, and what follows
for ML-CPC. By `prp-alpha-one-law` all of it is about one random number: [valid m alpha] says that
[Phi <= 1] for every law. *)
From MLCPC Require Import calculus two_candidates capping binomial.
From MLCPC Require Export ml_cpc.
Open Scope R_scope.

(** ## The valid weights are an interval *)

(** `lem-interval` (Lemma 0): for a fixed law, [Phi] is convex in the weight. *)
Theorem Phi_convex {A} (l : list A) w u m a0 a1 s : law l w u -> (2 <= m)%nat ->
  0 < a0 <= INR m -> 0 < a1 <= INR m -> 0 <= s <= 1 ->
  Phi l w u m ((1 - s) * a0 + s * a1) <= (1 - s) * Phi l w u m a0 + s * Phi l w u m a1.
Proof.
  intros (Hw & H1 & Hu) Hm H0 H1' Hs. unfold Phi.
  rewrite <- !sum_scal, <- sum_plus. apply sum_le; intros a _.
  set (a' := (1 - s) * a0 + s * a1).
  set (L := fun al => E l w (m - 1) (fun t => ln (al * u a + beta m al * sum t u))).
  fold (L a0) (L a1) (L a').
  assert (HL : - L a' <= (1 - s) * - L a0 + s * - L a1).
  { assert ((1 - s) * L a0 + s * L a1 <= L a'); [|lra].
    unfold L. rewrite <- !E_scal, <- E_plus. apply E_le; [exact Hw|]. intros t _.
    eapply Rle_trans; [apply ln_mix; [exact Hs|apply den_pos; assumption|apply den_pos; assumption]|].
    right. f_equal. unfold a', beta. field.
    apply (le_INR 2) in Hm. simpl in Hm. lra. }
  assert (He : exp (- L a') <= (1 - s) * exp (- L a0) + s * exp (- L a1))
    by (eapply Rle_trans; [apply exp_le, HL|apply exp_mix, Hs]).
  assert (0 <= w a * (INR m * u a)).
  { apply Rmult_le_pos; [apply Hw|]. apply Rmult_le_pos; [apply pos_INR|left; apply Hu]. }
  apply Rmult_le_compat_l with (r := w a * (INR m * u a)) in He; [|assumption].
  lra.
Qed.

(** `lem-interval` (Lemma 0): what is valid at [a0] is valid from [a0] on. *)
Theorem valid_up m a0 alpha : (2 <= m)%nat -> 0 < a0 -> valid m a0 -> a0 <= alpha <= INR m ->
  valid m alpha.
Proof.
  intros Hm H0 HV Ha. assert (Hm2 : 2 <= INR m) by (apply (le_INR 2), Hm).
  destruct (Rle_lt_dec 1 alpha) as [H|H]; [apply valid_ge_1; [exact Hm|lra]|].
  intros A l w u HL.
  pose proof (HV A l w u HL) as HP0.
  pose proof (valid_ge_1 m 1 Hm ltac:(lra) A l w u HL) as HP1.
  set (s := (alpha - a0) / (1 - a0)).
  assert (Hs : 0 <= s <= 1).
  { unfold s. split.
    - apply Rmult_le_pos; [lra|left; apply Rinv_0_lt_compat; lra].
    - apply Rmult_le_reg_r with (1 - a0); [lra|]. unfold Rdiv.
      rewrite Rmult_assoc, Rinv_l; lra. }
  replace alpha with ((1 - s) * a0 + s * 1) by (unfold s; field; lra).
  eapply Rle_trans; [apply Phi_convex; try assumption; lra|].
  apply Rmult_le_compat_l with (r := 1 - s) in HP0; [|lra].
  apply Rmult_le_compat_l with (r := s) in HP1; [|lra]. lra.
Qed.

(** ## Two candidates *)

(** `thm-two-candidates` (Theorem 1): every weight from 2/e on. *)
Theorem valid_2 alpha : 2 * exp (-1) <= alpha <= 2 -> valid 2 alpha.
Proof.
  intros Ha A l w u HL. pose proof (exp_pos (-1)).
  rewrite Phi_alt by (try assumption; try lia; simpl; lra).
  destruct HL as (Hw & H1 & Hu).
  pose proof (Psi_le alpha (proj1 Ha) (proj2 Ha) w u Hw Hu l) as HP. rewrite H1 in HP.
  eapply Rle_trans; [|exact HP]. right. unfold Psi. rewrite H1.
  apply sum_ext; intros a _. do 2 f_equal. unfold Rdiv at 2. rewrite Rinv_1, Rmult_1_r.
  simpl. apply sum_ext; intros b _. do 2 f_equal. unfold h, beta. simpl. f_equal.
  field.
Qed.


Lemma ln_two_e : ln (2 * exp (-1)) = ln 2 - 1.
Proof. rewrite ln_mult, ln_exp by (try apply exp_pos; lra). ring. Qed.

(** A whole number above any real one. *)
Lemma some_nat r : exists K, (2 <= K)%nat /\ r < INR K.
Proof.
  exists (2 + Z.to_nat (up (Rmax r 0)))%nat. split; [lia|].
  rewrite plus_INR, (INR_IZR_INZ (Z.to_nat _)), Z2Nat.id.
  - pose proof (archimed (Rmax r 0)) as [H _]. pose proof (Rmax_l r 0). simpl. lra.
  - apply le_IZR. pose proof (archimed (Rmax r 0)) as [H _]. pose proof (Rmax_r r 0). lra.
Qed.

(** Below 2/e: one of [K] equally likely values is small, the others are 1. *)
Definition one_small (delta : R) (a : nat) : R := match a with O => delta | _ => 1 end.

Theorem below_two_e alpha : 0 < alpha < 2 * exp (-1) ->
  exists K delta, (2 <= K)%nat /\ 0 < delta /\
    1 < Phi (circle K) (fun _ => / INR K) (one_small delta) 2 alpha.
Proof.
  intros [Ha Hlt].
  assert (He : exp (-1) < / 2).
  { pose proof (exp_ineq1 1 ltac:(lra)) as H.
    assert (H0 : exp (-1) * exp 1 = 1)
      by (rewrite <- exp_plus; replace (-1 + 1) with 0 by ring; apply exp_0).
    pose proof (exp_pos (-1)). nra. }
  set (mu := ln 2 - 1 - ln alpha).
  assert (Hmu : 0 < mu).
  { unfold mu. pose proof (ln_increasing _ _ Ha Hlt) as H. rewrite ln_two_e in H. lra. }
  set (nu := mu / 2).
  set (delta := alpha * (exp nu - 1) / (2 - alpha)).
  assert (Hd : 0 < delta).
  { apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; [exact Ha|]|lra].
    pose proof (exp_ineq1 nu ltac:(unfold nu; lra)). unfold nu in *. lra. }
  destruct (some_nat ((1 + nu) / nu)) as (K & HK & HKr).
  assert (HK0 : 2 <= INR K) by (apply (le_INR 2), HK).
  set (q := / INR K). assert (Hq : 0 < q <= / 2).
  { split; [apply Rinv_0_lt_compat; lra|apply Rinv_le_contravar; lra]. }
  assert (Hnu : 0 < nu) by (unfold nu; lra).
  assert (Hqn : q * (1 + nu) < nu).
  { apply Rmult_lt_compat_r with (r := nu * q) in HKr; [|apply Rmult_lt_0_compat; lra].
    replace ((1 + nu) / nu * (nu * q)) with (q * (1 + nu)) in HKr by (field; lra).
    replace (INR K * (nu * q)) with nu in HKr by (unfold q; field; lra). exact HKr. }
  exists K, delta. split; [exact HK|]. split; [exact Hd|].
  assert (HL : law (circle K) (fun _ => q) (one_small delta)).
  { repeat split.
    - intros; lra.
    - rewrite circle_sum. unfold q. apply Rinv_r. lra.
    - intros [|a]; simpl; lra. }
  rewrite Phi_alt by (try assumption; try lia; simpl; lra).
  assert (Hb : beta 2 alpha = 2 - alpha) by (unfold beta; simpl; field).
  rewrite Hb. simpl (2 - 1)%nat. simpl (INR 2). replace (1 + 1) with 2 by ring.
  (* the letters 1, ..., K - 1 are alike *)
  destruct K as [|K']; [lia|].
  assert (Hsum : forall G : nat -> R, ∑ a ∈ circle (S K'), q * G a = q * G O + ∑ a ∈ seq 1 K', q * G a)
    by (intros; reflexivity).
  assert (Hrest : forall c, ∑ a ∈ seq 1 K', q * c = (1 - q) * c).
  { intros c. rewrite sum_const, seq_length. unfold q. rewrite S_INR in *. field. lra. }
  assert (Hin : forall a, In a (seq 1 K') -> one_small delta a = 1).
  { intros a Hin. apply in_seq in Hin. destruct a; [lia|reflexivity]. }
  set (G := fun a => exp (E (circle (S K')) (fun _ => q) 1 (fun t =>
    ln (2 * one_small delta a / (alpha * one_small delta a + (2 - alpha) * sum t (one_small delta)))))).
  change (1 < ∑ a ∈ circle (S K'), q * G a). rewrite Hsum.
  assert (Htop : forall a, In a (seq 1 K') -> G a = exp (q * (1 + nu))).
  { intros a Hia. unfold G. rewrite (Hin a Hia). f_equal. cbn [E].
    rewrite Hsum.
    rewrite (sum_ext (seq 1 K') _ (fun _ => q * 0)).
    - rewrite Hrest. cbn [finite.sum one_small].
      replace (alpha * 1 + (2 - alpha) * (delta + 0)) with (alpha * exp nu)
        by (unfold delta; field; lra).
      rewrite Rmult_1_r.
      pose proof (exp_pos nu).
      rewrite ln_div', ln_mult, ln_exp by (try assumption; try lra; apply Rmult_lt_0_compat; assumption).
      unfold nu, mu. field.
    - intros b Hb'. cbn [finite.sum]. rewrite (Hin b Hb').
      replace (2 * 1 / (alpha * 1 + (2 - alpha) * (1 + 0))) with 1 by (field; lra).
      rewrite ln_1. reflexivity. }
  rewrite (sum_ext (seq 1 K') _ (fun _ => q * exp (q * (1 + nu))))
    by (intros a Hia; rewrite (Htop a Hia); reflexivity).
  rewrite Hrest.
  assert (0 < q * G 0%nat) by (apply Rmult_lt_0_compat; [lra|apply exp_pos]).
  pose proof (exp_ineq1_le (q * (1 + nu))) as H3.
  assert (H4 : (1 - q) * (1 + q * (1 + nu)) <= (1 - q) * exp (q * (1 + nu)))
    by (apply Rmult_le_compat_l; lra).
  assert (0 < q * (nu - q * (1 + nu))) by (apply Rmult_lt_0_compat; lra). lra.
Qed.

Theorem not_valid_2 alpha : 0 < alpha < 2 * exp (-1) -> ~ valid 2 alpha.
Proof.
  intros Ha HV. destruct (below_two_e alpha Ha) as (K & delta & HK & Hd & HP).
  assert (HK0 : 0 < INR K) by (apply lt_0_INR; lia).
  assert (HL : law (circle K) (fun _ => / INR K) (one_small delta)).
  { repeat split.
    - intros; left; apply Rinv_0_lt_compat, HK0.
    - rewrite circle_sum. apply Rinv_r. lra.
    - intros [|a]; simpl; lra. }
  specialize (HV _ _ _ _ HL). lra.
Qed.

(** `thm-two-candidates` (Theorem 1): 2/e is sharp. *)
Theorem valid_2_iff alpha : 0 < alpha <= 2 -> (valid 2 alpha <-> 2 * exp (-1) <= alpha).
Proof.
  intros Ha. split; [|intros; apply valid_2; lra].
  intros HV. destruct (Rle_lt_dec (2 * exp (-1)) alpha) as [H|H]; [exact H|].
  exfalso. exact (not_valid_2 alpha (conj (proj1 Ha) H) HV).
Qed.

(** The same about tables and critics: CPC with two candidates is a lower bound exactly from 2/e on. *)
Theorem CPC2_iff alpha : 0 < alpha <= 2 ->
  ((forall (X Y : Type) (xs : list X) (ys : list Y) p g, table xs ys p -> critic g ->
    alphaCPC xs ys p 2 alpha g <= I xs ys p) <-> 2 * exp (-1) <= alpha).
Proof.
  intros Ha. split.
  - intros HF. destruct (Rle_lt_dec (2 * exp (-1)) alpha) as [H|H]; [exact H|exfalso].
    destruct (below_two_e alpha (conj (proj1 Ha) H)) as (K & delta & HK & Hd & HP).
    assert (Hu : forall a, 0 < one_small delta a) by (intros [|a]; simpl; lra).
    assert (Ha2 : 0 < alpha <= INR 2) by (simpl; lra).
    assert (HK1 : (0 < K)%nat) by lia.
    pose proof (converse K 2 alpha (one_small delta) HK1 ltac:(lia) Ha2 Hu) as HC.
    specialize (HF _ _ _ _ _ _
      (round_is_table K 2 alpha (one_small delta) HK1 ltac:(lia) Ha2 Hu)
      (round_is_critic K (one_small delta) Hu)).
    pose proof (ln_increasing 1 _ ltac:(lra) HP) as Hl. rewrite ln_1 in Hl. lra.
  - intros He X Y xs ys p g Hp Hg.
    apply valid_CPC; [exact Hp|apply valid_2; lra|lia|simpl; lra|exact Hg].
Qed.

(** ## Every number of candidates: a first range *)

(** `thm-capping` (Theorem 2) *)
Theorem thm2 m alpha : (2 <= m)%nat -> alpha <= 1 ->
  INR m ^ 2 * (1 - alpha) <= alpha * (INR m - alpha) -> valid m alpha.
Proof.
  intros Hm Ha1 Hc. destruct m as [|[|j]]; [lia|lia|].
  assert (Hm2 : 2 <= INR (S (S j))) by (apply (le_INR 2); lia).
  assert (Ha : 0 < alpha) by (destruct (Rlt_le_dec 0 alpha); [assumption|nra]).
  destruct (beta_facts j alpha (conj Ha Ha1)) as (_ & Hk & Hbe & Hle & Hb & Hba & Hbm).
  set (b := beta (S (S j)) alpha) in *. set (M0 := INR (S (S j))) in *.
  apply valid_of_P; [fold M0; lra|]. fold b.
  intros A l w V t x HL Ht Hx. pose proof (mean_le l w V t HL Ht) as Hmu.
  pose proof (mu_nonneg l w V HL) as Hmu0.
  apply P_of_AB; try assumption; [left; exact Hb|].
  destruct HL as (Hw & H1 & Hu). rewrite Hk.
  set (mu := sum l (fun a => w a * V a)) in *. rewrite <- !E_scal. apply E_le; [exact Hw|].
  intros s _.
  assert (Hs : 0 <= b * sum s V)
    by (apply Rmult_le_pos; [lra|apply sum_nonneg; intros; left; apply Hu]).
  assert (0 < alpha * x) by (apply Rmult_lt_0_compat; lra).
  assert (0 < alpha * t) by (apply Rmult_lt_0_compat; lra).
  assert (0 < b * t) by (apply Rmult_lt_0_compat; lra).
  assert (0 < b * x) by (apply Rmult_lt_0_compat; lra).
  set (dA := alpha * t + b * x + b * sum s V).
  set (dB := alpha * x + b * t + b * sum s V).
  assert (HA : 0 < dA) by (unfold dA; lra). assert (HB : 0 < dB) by (unfold dB; lra).
  assert (HM : alpha * t + b * ((M0 - 1) * mu) <= M0 * t).
  { rewrite <- Hbe at 2. rewrite Rmult_plus_distr_r.
    assert (b * ((M0 - 1) * mu) <= b * ((M0 - 1) * t)); [|lra].
    apply Rmult_le_compat_l; [lra|]. apply Rmult_le_compat_l; lra. }
  assert (Hkey : (b - alpha) * M0 <= alpha * b).
  { apply Rmult_le_reg_r with (M0 - 1); [lra|].
    replace ((b - alpha) * M0 * (M0 - 1)) with ((b - alpha) * (M0 - 1) * M0) by ring.
    rewrite Hba. replace (alpha * b * (M0 - 1)) with (alpha * (b * (M0 - 1))) by ring.
    rewrite Hbm. lra. }
  assert (HF : (b - alpha) * (alpha * t + b * ((M0 - 1) * mu)) <= alpha * dB).
  { apply Rle_trans with ((b - alpha) * (M0 * t)); [apply Rmult_le_compat_l; lra|].
    apply Rle_trans with (alpha * b * t).
    - rewrite <- Rmult_assoc. apply Rmult_le_compat_r; [lra|exact Hkey].
    - rewrite Rmult_assoc. apply Rmult_le_compat_l; [lra|]. unfold dB; lra. }
  replace (alpha * / dA) with ((alpha * dB) * (/ dA * / dB)) by (field; lra).
  apply Rmult_le_compat_r; [|exact HF].
  apply Rmult_le_pos; left; apply Rinv_0_lt_compat; assumption.
Qed.

(** ## Every number of candidates: 2/e *)

(** x = 0 is the worst case of (P), by a tilt. *)
Lemma tilt c rho L : 0 < c -> 0 <= rho ->
  exists r, 0 <= r /\ (L <= c ^ 2 -> r = 0) /\ forall s, 0 <= s ->
    r * ((c ^ 2 + c * s - L) * / ((c + s) * (1 + s)))
    <= c * / (c + rho + s) - ((1 - c) * c + L) * (/ (c + rho + s) * / (c * rho + 1 + s)).
Proof.
  intros Hc Hrho. assert (Hcr : 0 <= c * rho) by (apply Rmult_le_pos; lra).
  assert (Hccr : 0 <= c ^ 2 * rho) by (apply Rmult_le_pos; [apply pow2_ge_0|lra]).
  assert (RHS : forall s, 0 <= s ->
    c * / (c + rho + s) - ((1 - c) * c + L) * (/ (c + rho + s) * / (c * rho + 1 + s))
    = (c ^ 2 + c * s - L + c ^ 2 * rho) * / ((c + rho + s) * (c * rho + 1 + s))).
  { intros s Hs. field. split; lra. }
  assert (HdB : forall s, 0 <= s -> 0 < (c + rho + s) * (c * rho + 1 + s))
    by (intros; apply Rmult_lt_0_compat; lra).
  assert (Hd0 : forall s, 0 <= s -> 0 < (c + s) * (1 + s))
    by (intros; apply Rmult_lt_0_compat; lra).
  destruct (Rle_lt_dec L (c ^ 2)) as [HL|HL].
  - exists 0. split; [lra|]. split; [reflexivity|]. intros s Hs. rewrite RHS by exact Hs.
    rewrite Rmult_0_l. assert (0 <= c * s) by (apply Rmult_le_pos; lra).
    apply Rmult_le_pos; [lra|left; apply Rinv_0_lt_compat, HdB, Hs].
  - set (st := (L - c ^ 2) / c).
    assert (Hst : 0 < st) by (apply Rdiv_lt_0_compat; lra).
    assert (HLs : L = c ^ 2 + c * st) by (unfold st; field; lra).
    pose proof (HdB st ltac:(lra)) as HBt. pose proof (Hd0 st ltac:(lra)) as H0t.
    exists ((c + st) * (1 + st) * / ((c + rho + st) * (c * rho + 1 + st))).
    split; [left; apply Rmult_lt_0_compat; [exact H0t|apply Rinv_0_lt_compat, HBt]|].
    split; [lra|]. intros s Hs. rewrite RHS by exact Hs.
    pose proof (HdB s Hs) as HB. pose proof (Hd0 s Hs) as H0.
    replace (c ^ 2 + c * s - L) with (c * (s - st)) by (rewrite HLs; ring).
    set (W := c * rho * (c + s) * (c + st) + rho * (1 + s) * (1 + st)
              + c * rho ^ 2 * ((c + s) + (1 + st))).
    assert (HW : 0 <= W).
    { unfold W. repeat apply Rplus_le_le_0_compat.
      - apply Rmult_le_pos; [apply Rmult_le_pos|]; lra.
      - apply Rmult_le_pos; [apply Rmult_le_pos|]; lra.
      - apply Rmult_le_pos; [apply Rmult_le_pos; [lra|apply pow2_ge_0]|lra]. }
    set (dB := (c + rho + s) * (c * rho + 1 + s)) in *.
    set (dBt := (c + rho + st) * (c * rho + 1 + st)) in *.
    set (e0 := (c + s) * (1 + s)) in *. set (e0t := (c + st) * (1 + st)) in *.
    assert (HI : (s - st) * (e0 * dBt - e0t * dB) = (s - st) ^ 2 * W)
      by (unfold e0, dBt, e0t, dB, W; ring).
    assert (HI0 : 0 <= (s - st) ^ 2 * W) by (apply Rmult_le_pos; [apply pow2_ge_0|exact HW]).
    apply Rmult_le_reg_r with (e0 * dBt * dB);
      [apply Rmult_lt_0_compat; [apply Rmult_lt_0_compat; assumption|assumption]|].
    replace (e0t * / dBt * (c * (s - st) * / e0) * (e0 * dBt * dB))
      with (c * ((s - st) * (e0t * dB))) by (field; lra).
    replace ((c * (s - st) + c ^ 2 * rho) * / dB * (e0 * dBt * dB))
      with (c * ((s - st) * (e0 * dBt)) + c ^ 2 * rho * (e0 * dBt)) by (field; lra).
    assert (0 <= c ^ 2 * rho * (e0 * dBt)).
    { apply Rmult_le_pos; [assumption|]. left. apply Rmult_lt_0_compat; assumption. }
    assert (c * ((s - st) * (e0t * dB)) <= c * ((s - st) * (e0 * dBt))); [|lra].
    apply Rmult_le_compat_l; lra.
Qed.

Lemma inv_conv x p : 0 < x -> 0 <= p <= 1 -> / (x + p) <= (1 - p) * / x + p * / (x + 1).
Proof.
  intros Hx Hp. apply Rmult_le_reg_r with ((x + p) * (x * (x + 1))).
  - apply Rmult_lt_0_compat; [lra|apply Rmult_lt_0_compat; lra].
  - replace (/ (x + p) * ((x + p) * (x * (x + 1)))) with (x * (x + 1)) by (field; lra).
    replace (((1 - p) * / x + p * / (x + 1)) * ((x + p) * (x * (x + 1))))
      with (x * (x + 1) + p * (1 - p)) by (field; lra).
    assert (0 <= p * (1 - p)) by (apply Rmult_le_pos; lra). lra.
Qed.

Lemma phi_conv c s p : 0 < c -> 0 <= s -> 0 <= p <= 1 ->
  / ((c + (s + p)) * (1 + (s + p)))
  <= (1 - p) * / ((c + s) * (1 + s)) + p * / ((c + (s + 1)) * (1 + (s + 1))).
Proof.
  intros Hc Hs Hp. rewrite !Rinv_mult.
  pose proof (inv_conv (c + s) p ltac:(lra) Hp) as Hf.
  pose proof (inv_conv (1 + s) p ltac:(lra) Hp) as Hg.
  replace (c + (s + p)) with (c + s + p) by ring. replace (1 + (s + p)) with (1 + s + p) by ring.
  replace (c + (s + 1)) with (c + s + 1) by ring. replace (1 + (s + 1)) with (1 + s + 1) by ring.
  assert (Hf1 : / (c + s + 1) <= / (c + s)) by (apply Rinv_le_contravar; lra).
  assert (Hg1 : / (1 + s + 1) <= / (1 + s)) by (apply Rinv_le_contravar; lra).
  assert (0 < / (c + s + p)) by (apply Rinv_0_lt_compat; lra).
  assert (0 < / (1 + s + p)) by (apply Rinv_0_lt_compat; lra).
  set (f0 := / (c + s)) in *. set (f1 := / (c + s + 1)) in *.
  set (g0 := / (1 + s)) in *. set (g1 := / (1 + s + 1)) in *.
  apply Rle_trans with (((1 - p) * f0 + p * f1) * ((1 - p) * g0 + p * g1));
    [apply Rmult_le_compat; lra|].
  assert (0 <= p * (1 - p) * ((f0 - f1) * (g0 - g1)))
    by (apply Rmult_le_pos; apply Rmult_le_pos; lra).
  replace (((1 - p) * f0 + p * f1) * ((1 - p) * g0 + p * g1))
    with ((1 - p) * (f0 * g0) + p * (f1 * g1) - p * (1 - p) * ((f0 - f1) * (g0 - g1))) by ring.
  lra.
Qed.

(** The case x = 0, outside the trivial range of the mean. *)
Section Zero.
Context {A : Type}.
Variables (l : list A) (w v : A -> R) (n : nat) (c : R).
Hypothesis w_nonneg : forall a, 0 <= w a.
Hypothesis w_sum : sum l w = 1.
Hypothesis v_01 : forall a, 0 <= v a <= 1.
Let k := INR (S (S n)).
Hypothesis c_eq : c = 147/200 * k / (k + 1 - 147/200).
Let mu := sum l (fun a => w a * v a).

Lemma k_ge2 : 2 <= k.
Proof. apply (le_INR 2). lia. Qed.

Lemma c_bounds : 649/1000 <= c < 1.
Proof.
  pose proof k_ge2. rewrite c_eq. split.
  - apply Rmult_le_reg_r with (k + 1 - 147/200); [lra|].
    unfold Rdiv. rewrite (Rmult_assoc (147 * / 200 * k)), Rinv_l; lra.
  - apply Rmult_lt_reg_r with (k + 1 - 147/200); [lra|].
    unfold Rdiv. rewrite (Rmult_assoc (147 * / 200 * k)), Rinv_l; lra.
Qed.

Lemma mu_01 : 0 <= mu <= 1.
Proof.
  split; unfold mu.
  - apply sum_nonneg; intros a _. apply Rmult_le_pos; [apply w_nonneg|apply (proj1 (v_01 a))].
  - rewrite <- w_sum. apply sum_le; intros a _. rewrite <- (Rmult_1_r (w a)) at 2.
    apply Rmult_le_compat_l; [apply w_nonneg|apply (proj2 (v_01 a))].
Qed.

Lemma sv_nonneg s : 0 <= sum s v.
Proof. apply sum_nonneg; intros a _. apply (proj1 (v_01 a)). Qed.

Lemma zero_case : c ^ 2 < (1 - c) * (k * mu) ->
  (1 - c) * (k * mu) * E l w (S n) (fun s => / ((c + sum s v) * (1 + sum s v)))
  <= c * E l w (S n) (fun s => / (1 + sum s v)).
Proof.
  intros HL. pose proof k_ge2 as Hk. pose proof c_bounds as Hc. pose proof mu_01 as Hmu.
  set (j := INR (S n)). assert (Hj : j = k - 1) by (unfold j, k; rewrite (S_INR (S n)); ring).
  set (J := 1 + j * mu).
  assert (HJ : 1 <= J).
  { unfold J. assert (0 <= j * mu) by (apply Rmult_le_pos; lra). lra. }
  (* Jensen *)
  assert (H1 : / J <= E l w (S n) (fun s => / (1 + sum s v))).
  { apply Rle_trans with (E l w (S n) (fun s => (2 * / J - / J * / J) + (- (/ J * / J)) * sum s v)).
    - rewrite E_plus, E_scal, (E_const l w w_sum), (E_linear l w (S n) v w_sum). fold mu. fold j.
      right. replace (j * mu) with (J - 1) by (unfold J; ring). field. lra.
    - apply E_le; [exact w_nonneg|]. intros s _. pose proof (sv_nonneg s).
      set (D := 1 + sum s v). replace (sum s v) with (D - 1) by (unfold D; ring).
      assert (HD : 0 < D) by (unfold D; lra).
      apply Rmult_le_reg_r with (J * J * D); [apply Rmult_lt_0_compat; [apply Rmult_lt_0_compat; lra|exact HD]|].
      replace (/ D * (J * J * D)) with (J * J) by (field; lra).
      replace ((2 * / J - / J * / J + - (/ J * / J) * (D - 1)) * (J * J * D))
        with (2 * J * D - D * D) by (field; lra).
      assert (0 <= (J - D) * (J - D)) by apply Rle_0_sqr. lra. }
  (* Bernoulli coordinates *)
  set (X := B mu (S n) g3 0).
  assert (H2 : E l w (S n) (fun s => / ((c + sum s v) * (1 + sum s v)))
    <= 632/1000 * (1 - mu) ^ S n + 182/100 * X).
  { pose proof (convex_bin mu l w v (fun s => / ((c + s) * (1 + s))) (S n) 0
      w_nonneg w_sum v_01 eq_refl) as H.
    specialize (H ltac:(intros; apply phi_conv; [lra|assumption|assumption]) (Rle_refl 0)).
    cbv beta in H.
    rewrite (E_ext l w (S n) _ (fun s => / ((c + sum s v) * (1 + sum s v)))) in H
      by (intros s _; rewrite Rplus_0_l; reflexivity).
    eapply Rle_trans; [exact H|].
    change 0 with (INR 0) at 1. rewrite BR_B.
    apply Rle_trans with (B mu (S n) (fun i => 632/1000 * d0 i + 182/100 * g3 i) 0).
    - apply B_le; [exact Hmu|]. intros i. unfold g3. destruct i as [|i].
      + simpl. apply Rmult_le_reg_r with c; [lra|].
        replace (/ ((c + 0) * (1 + 0)) * c) with 1 by (field; lra).
        replace ((632 / 1000 * 1 + 182 / 100 * / ((0 + 1) * (0 + 2))) * c) with (1542/1000 * c) by field.
        lra.
      + rewrite S_INR. simpl d0. pose proof (pos_INR i) as Hi. set (I := INR i + 1).
        assert (HI : 1 <= I) by (unfold I; lra).
        rewrite Rmult_0_r, Rplus_0_l.
        apply Rmult_le_reg_r with ((c + I) * (I + 1) * (I + 2));
          [apply Rmult_lt_0_compat; [apply Rmult_lt_0_compat; lra|lra]|].
        replace (/ ((c + I) * (1 + I)) * ((c + I) * (I + 1) * (I + 2))) with (I + 2) by (field; lra).
        replace (182 / 100 * / ((I + 1) * (I + 2)) * ((c + I) * (I + 1) * (I + 2)))
          with (182 / 100 * (c + I)) by (field; lra). lra.
    - rewrite B_lin, B_d0. right. reflexivity. }
  assert (Hmu0 : 0 < mu).
  { destruct (proj1 Hmu) as [H|H]; [exact H|exfalso]. rewrite <- H, !Rmult_0_r in HL.
    pose proof (pow2_ge_0 c). lra. }
  pose proof (B_g3 mu (S n)) as HX. fold X in HX.
  set (P := k + 1 - 147/200) in *. assert (HP : 0 < P) by (unfold P; lra).
  assert (Hc1 : 1 - c = (k + 1) * (53/200) / P)
    by (rewrite c_eq; unfold P; field; fold P; unfold P in HP; lra).
  assert (HkS : INR (S (S (S n))) = k + 1) by (rewrite (S_INR (S (S n))); reflexivity).
  pose proof (final_ineq n mu X (conj Hmu0 (proj2 Hmu)) HX) as HF.
  rewrite !HkS in HF. fold k in HF. fold j in HF.
  assert (HFc : (147 / 200) ^ 2 * k <= (k + 1 - 147 / 200) * (k + 1) * (53 / 200) * mu).
  { rewrite Hc1, c_eq in HL. fold P. fold P in HL. left.
    apply Rmult_lt_reg_r with (k / (P * P));
      [apply Rdiv_lt_0_compat; [lra|apply Rmult_lt_0_compat; lra]|].
    replace ((147 / 200) ^ 2 * k * (k / (P * P))) with ((147 / 200 * k / P) ^ 2) by (field; lra).
    replace (P * (k + 1) * (53 / 200) * mu * (k / (P * P)))
      with ((k + 1) * (53 / 200) / P * (k * mu)) by (field; lra). exact HL. }
  specialize (HF HFc). fold J in HF.
  set (Z := 632 / 1000 * (1 - mu) ^ S n + 182 / 100 * X) in *.
  apply Rle_trans with (c * / J); [|apply Rmult_le_compat_l; [lra|exact H1]].
  apply Rle_trans with ((1 - c) * (k * mu) * Z).
  { apply Rmult_le_compat_l; [|exact H2]. apply Rmult_le_pos; [lra|apply Rmult_le_pos; lra]. }
  apply Rmult_le_reg_r with J; [lra|].
  replace (c * / J * J) with (k * (53/200) / P * (147/53)) by (rewrite c_eq; fold P; field; lra).
  replace ((1 - c) * (k * mu) * Z * J) with (k * (53/200) / P * ((k + 1) * mu * J * Z))
    by (rewrite Hc1; field; lra).
  apply Rmult_le_compat_l; [|exact HF].
  left. apply Rdiv_lt_0_compat; lra.
Qed.

Lemma rho_case rho : 0 <= rho ->
  (1 - c) * (c + k * mu) * E l w (S n) (fun s => / (c + rho + sum s v) * / (c * rho + 1 + sum s v))
  <= c * E l w (S n) (fun s => / (c + rho + sum s v)).
Proof.
  intros Hrho. pose proof c_bounds as Hc.
  destruct (tilt c rho ((1 - c) * (k * mu)) ltac:(lra) Hrho) as (r & Hr & Hr0 & Ht).
  set (EA := E l w (S n) (fun s => / (c + rho + sum s v))).
  set (EAB := E l w (S n) (fun s => / (c + rho + sum s v) * / (c * rho + 1 + sum s v))).
  assert (H : r * (c * E l w (S n) (fun s => / (1 + sum s v)) +
      - ((1 - c) * (k * mu)) * E l w (S n) (fun s => / ((c + sum s v) * (1 + sum s v))))
    <= c * EA + - ((1 - c) * c + (1 - c) * (k * mu)) * EAB).
  { unfold EA, EAB. rewrite <- !E_scal, <- !E_plus, <- E_scal. apply E_le; [exact w_nonneg|].
    intros s _. cbv beta. pose proof (sv_nonneg s) as Hs. specialize (Ht _ Hs).
    replace (r * (c * / (1 + sum s v) + - ((1 - c) * (k * mu)) * / ((c + sum s v) * (1 + sum s v))))
      with (r * ((c ^ 2 + c * sum s v - (1 - c) * (k * mu)) * / ((c + sum s v) * (1 + sum s v))))
      by (field; lra).
    lra. }
  assert (H0 : 0 <= r * (c * E l w (S n) (fun s => / (1 + sum s v)) +
      - ((1 - c) * (k * mu)) * E l w (S n) (fun s => / ((c + sum s v) * (1 + sum s v))))).
  { destruct (Rle_lt_dec ((1 - c) * (k * mu)) (c ^ 2)) as [HL|HL].
    - rewrite (Hr0 HL). lra.
    - apply Rmult_le_pos; [exact Hr|]. pose proof (zero_case HL). lra. }
  lra.
Qed.
End Zero.

Theorem valid_A0 n : valid (S (S (S n))) (147/200).
Proof.
  destruct (beta_facts (S n) (147/200) ltac:(lra)) as (Hm & Hk & Hbe & Hle & Hb & Hba & Hbm).
  set (b := beta (S (S (S n))) (147/200)) in *. set (M0 := INR (S (S (S n)))) in *.
  apply valid_of_P; [fold M0; lra|]. fold b.
  intros A l w V t x HL Ht Hx.
  apply P_of_AB; try assumption; [lra|left; exact Hb|].
  pose proof HL as (Hw & H1 & Hu).
  set (k := INR (S (S n))) in *. 
  set (c := 147/200 * k / (k + 1 - 147/200)).
  assert (Hk2 : 2 <= k) by (apply (le_INR 2); lia).
  assert (HM0 : M0 = k + 1) by lra. rewrite HM0 in *.
  assert (Hbk : b = (k + 1 - 147/200) / k).
  { apply Rmult_eq_reg_r with k; [|lra]. replace (k + 1 - 1) with k in Hbm by ring.
    rewrite Hbm. field. lra. }
  assert (Hc : 147/200 = b * c) by (unfold c; rewrite Hbk; field; lra).
  set (v := fun a => V a * / t).
  assert (Hv : forall a, 0 <= v a <= 1).
  { intros a. unfold v. assert (0 < / t) by (apply Rinv_0_lt_compat; lra). split.
    - apply Rmult_le_pos; [left; apply Hu|lra].
    - apply Rmult_le_reg_r with t; [lra|]. rewrite Rmult_assoc, Rinv_l by lra.
      pose proof (Ht a). lra. }
  assert (Hrho : 0 <= x / t) by (left; apply Rdiv_lt_0_compat; lra).
  pose proof (rho_case l w v n c Hw H1 Hv eq_refl (x / t) Hrho) as H.
  pose proof (c_bounds n c eq_refl) as Hcb.
  fold k in H.
  set (mu := sum l (fun a => w a * v a)) in *.
  assert (Hmu : sum l (fun a => w a * V a) = t * mu).
  { unfold mu. rewrite <- sum_scal. apply sum_ext; intros a _. unfold v. field. lra. }
  rewrite Hmu.
  assert (Hsv : forall s, sum s V = t * sum s v).
  { intros s. rewrite <- sum_scal. apply sum_ext; intros a _. unfold v. field. lra. }
  assert (Hs0 : forall s, 0 <= sum s v)
    by (intros s; apply sum_nonneg; intros a _; apply (proj1 (Hv a))).
  rewrite (E_ext l w (S n) (fun s => / (147/200 * t + b * x + b * sum s V))
    (fun s => / (b * t) * / (c + x / t + sum s v))).
  2:{ intros s _. rewrite Hsv, Hc, <- Rinv_mult. f_equal. field. lra. }
  rewrite (E_ext l w (S n)
    (fun s => / (147/200 * t + b * x + b * sum s V) * / (147/200 * x + b * t + b * sum s V))
    (fun s => / (b * t) * / (b * t) * (/ (c + x / t + sum s v) * / (c * (x / t) + 1 + sum s v)))).
  2:{ intros s _. rewrite Hsv, Hc. rewrite <- !Rinv_mult. f_equal. field. lra. }
  rewrite !E_scal.
  set (EAB := E l w (S n) (fun s => / (c + x / t + sum s v) * / (c * (x / t) + 1 + sum s v))) in *.
  set (EA := E l w (S n) (fun s => / (c + x / t + sum s v))) in *.
  rewrite Hc.
  replace ((b - b * c) * (b * c * t + b * (k * (t * mu))) * (/ (b * t) * / (b * t) * EAB))
    with (/ t * ((1 - c) * (c + k * mu) * EAB)) by (field; lra).
  replace (b * c * (/ (b * t) * EA)) with (/ t * (c * EA)) by (field; lra).
  apply Rmult_le_compat_l; [left; apply Rinv_0_lt_compat; lra|exact H].
Qed.


(** `thm-two-over-e` (Theorem A), with the sharper number for three or more candidates. *)
Theorem valid_3 m alpha : (3 <= m)%nat -> 147/200 <= alpha <= INR m -> valid m alpha.
Proof.
  intros Hm Ha. destruct m as [|[|[|n]]]; try lia.
  apply (valid_up _ (147/200)); [lia|lra|apply valid_A0|exact Ha].
Qed.

(** `thm-two-over-e` (Theorem A) *)
Theorem theorem_A : forall m, (2 <= m)%nat -> forall alpha,
  2 * exp (-1) <= alpha <= INR m -> valid m alpha.
Proof.
  intros m Hm alpha Ha. destruct (Nat.eq_dec m 2) as [->|H2].
  - apply valid_2. simpl in Ha. lra.
  - apply valid_3; [lia|]. pose proof exp_m1. lra.
Qed.

(** `thm-two-over-e` (Theorem A): no smaller number serves every m. *)
Corollary uniform_iff alpha : 0 < alpha <= 2 ->
  ((forall m, (2 <= m)%nat -> valid m alpha) <-> 2 * exp (-1) <= alpha).
Proof.
  intros Ha. split.
  - intros H. apply valid_2_iff; [exact Ha|]. apply H. lia.
  - intros H m Hm. apply theorem_A; [exact Hm|]. split; [exact H|].
    assert (2 <= INR m) by (apply (le_INR 2), Hm). lra.
Qed.

(** ## What follows for CPC and ML-CPC *)

(** `cor-safe-weights` *)
Section Consequences.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Hypothesis p_table : table xs ys p.
Notation px := (mutual_information.px ys p).
Notation py := (mutual_information.py xs p).
Notation cells := (mutual_information.cells xs ys).
Notation P := (mutual_information.P p).
Notation Q := (mutual_information.Q xs ys p).
Notation p_nonneg := (mutual_information.p_nonneg xs ys p p_table).
Notation p_sum := (mutual_information.p_sum xs ys p p_table).
Notation px_nonneg := (mutual_information.px_nonneg xs ys p p_table).
Notation py_nonneg := (mutual_information.py_nonneg xs ys p p_table).
Notation px_sum := (mutual_information.px_sum xs ys p p_table).
Notation py_sum := (mutual_information.py_sum xs ys p p_table).
Notation P_nonneg := (mutual_information.P_nonneg xs ys p p_table).
Notation Q_nonneg := (mutual_information.Q_nonneg xs ys p p_table).
Notation P_sum := (mutual_information.P_sum xs ys p p_table).
Notation Q_sum := (mutual_information.Q_sum xs ys p p_table).

Corollary CPC_valid_A m alpha g : (2 <= m)%nat -> 2 * exp (-1) <= alpha <= INR m -> critic g ->
  alphaCPC xs ys p m alpha g <= I xs ys p.
Proof.
  intros Hm Ha Hg. pose proof (exp_pos (-1)).
  apply valid_CPC; try assumption; [apply theorem_A; assumption|lra].
Qed.

Corollary CPC_indep_valid_A m alpha g : (2 <= m)%nat -> 2 * exp (-1) <= alpha <= INR m ->
  critic g -> alphaCPC_indep xs ys p m alpha g <= I xs ys p.
Proof.
  intros Hm Ha Hg. pose proof (exp_pos (-1)).
  apply valid_CPC_indep; try assumption; [apply theorem_A; assumption|lra].
Qed.

Corollary CPC_batch_valid_A n alpha g : (2 <= n)%nat -> 2 * exp (-1) <= alpha <= INR n ->
  critic g -> alphaCPC_batch xs ys p n alpha g <= I xs ys p.
Proof.
  intros Hn Ha Hg. pose proof (exp_pos (-1)).
  apply valid_CPC_batch; try assumption; [apply theorem_A; assumption|lra].
Qed.

Corollary shared_valid_A n m alpha g : (1 <= n)%nat -> (2 <= m)%nat ->
  2 * exp (-1) <= alpha <= INR m -> critic g -> MLCPC_shared xs ys p n m alpha g <= I xs ys p.
Proof.
  intros Hn Hm Ha Hg. pose proof (exp_pos (-1)).
  eapply Rle_trans; [apply J_le_L; try assumption; lra|apply CPC_valid_A; assumption].
Qed.

Corollary batch_valid_A n alpha g : (2 <= n)%nat -> 2 * exp (-1) <= alpha <= INR n -> critic g ->
  MLCPC_batch xs ys p n alpha g <= I xs ys p.
Proof.
  intros Hn Ha Hg. pose proof (exp_pos (-1)).
  apply valid_batch; try assumption; [apply theorem_A; assumption|lra].
Qed.

(** Independent negatives: a weight that is valid for one positive and [N = n (m - 1) + 1]
candidates, times [alpha_min]. *)
Theorem valid_indep n m alpha g : (1 <= n)%nat -> (2 <= m)%nat -> 0 < alpha <= INR m -> critic g ->
  valid (n * (m - 1) + 1) (alpha / alpha_min n m) -> MLCPC_indep xs ys p n m alpha g <= I xs ys p.
Proof.
  intros Hn Hm [Ha Ham] Hg HV.
  assert (Hn0 : 1 <= INR n) by (apply (le_INR 1), Hn).
  assert (Hm0 : 2 <= INR m) by (apply (le_INR 2), Hm).
  pose proof (beta_nonneg m alpha Hm Ham) as Hb.
  assert (Han : 0 < alpha * INR n) by (apply Rmult_lt_0_compat; lra).
  apply indep_of_heavy; try assumption; [lra|].
  set (k := (n * (m - 1))%nat) in *.
  assert (Hk : INR k = INR n * (INR m - 1))
    by (unfold k; rewrite mult_INR, minus_INR by lia; reflexivity).
  assert (HN : INR (k + 1) = INR n * (INR m - 1) + 1) by (rewrite plus_INR, Hk; reflexivity).
  assert (Hkp : 0 < INR n * (INR m - 1)) by (apply Rmult_lt_0_compat; lra).
  replace (alpha / alpha_min n m) with (alpha * INR (k + 1) / INR m) in HV
    by (rewrite HN; unfold alpha_min; field; lra).
  set (N := INR (k + 1)) in *. set (a' := alpha * N / INR m) in *.
  assert (HkN : (2 <= k + 1)%nat) by (unfold k; nia).
  assert (Ha' : 0 < a' <= N).
  { unfold a'. split; [apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; lra|lra]|].
    apply Rmult_le_reg_r with (INR m); [lra|]. unfold Rdiv.
    rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra. nra. }
  assert (Hb' : beta (k + 1) a' = N / (INR n * INR m) * beta m alpha).
  { unfold beta. fold N. unfold a'. rewrite HN. field. repeat split; lra. }
  assert (HL : law cells Q (on g)) by (apply (law_cells xs ys p p_table g Hg)).
  pose proof (HV _ _ _ _ HL) as HP. rewrite Phi_alt in HP by assumption.
  eapply Rle_trans; [|exact HP]. right. apply sum_ext; intros z _. do 2 f_equal.
  replace (k + 1 - 1)%nat with k by lia. apply E_ext; intros neg _. f_equal.
  fold N. rewrite Hb'. unfold a'.
  assert (0 <= beta m alpha * sum neg (on g))
    by (apply Rmult_le_pos; [exact Hb|apply sum_nonneg; intros; left; apply on_pos, Hg]).
  assert (0 < alpha * INR n * on g z) by (apply Rmult_lt_0_compat; [assumption|apply on_pos, Hg]).
  field. repeat split; try lra.
  replace (alpha * N * on g z * INR n + N * beta m alpha * sum neg (on g))
    with (N * (alpha * INR n * on g z + beta m alpha * sum neg (on g))) by ring.
  apply Rgt_not_eq, Rmult_lt_0_compat; lra.
Qed.

Corollary indep_valid_A n m alpha g : (1 <= n)%nat -> (2 <= m)%nat -> critic g ->
  2 * exp (-1) * alpha_min n m <= alpha <= INR m -> MLCPC_indep xs ys p n m alpha g <= I xs ys p.
Proof.
  intros Hn Hm Hg [Hlo Ha]. pose proof (exp_pos (-1)) as He.
  pose proof (alpha_min_pos n m Hn Hm) as H0.
  assert (Hn0 : 1 <= INR n) by (apply (le_INR 1), Hn).
  assert (Hm2 : 2 <= INR m) by (apply (le_INR 2), Hm).
  assert (H1 : 0 < 2 * exp (-1) * alpha_min n m) by (apply Rmult_lt_0_compat; lra).
  apply valid_indep; try assumption; [lra|]. apply theorem_A; [nia|]. split.
  - apply Rmult_le_reg_r with (alpha_min n m); [exact H0|].
    unfold Rdiv. rewrite (Rmult_assoc alpha), Rinv_l by lra. lra.
  - rewrite plus_INR, mult_INR, minus_INR by lia. simpl. unfold alpha_min.
    replace (alpha / (INR m / (INR n * (INR m - 1) + 1)))
      with (alpha / INR m * (INR n * (INR m - 1) + 1)) by (field; split; [nra|lra]).
    assert (alpha / INR m <= 1).
    { apply Rmult_le_reg_r with (INR m); [lra|]. unfold Rdiv. rewrite Rmult_assoc, Rinv_l; lra. }
    assert (0 <= INR n * (INR m - 1) + 1) by nra. nra.
Qed.
End Consequences.

(** ## The natural worst case is not the worst *)

(** The law that is 1 with probability [mu] and [eps] otherwise. *)
Definition two_point (mu : R) (b : bool) : R := if b then mu else 1 - mu.
Definition top_one (eps : R) (b : bool) : R := if b then 1 else eps.

(** [Phi] of the law on 0 and 1: a draw of [k = m - 1] letters shows 1 as often as it likes. The
letter 0 itself adds nothing. *)
Definition Phi_01 (mu : R) (m : nat) (alpha : R) : R :=
  mu * (INR m * exp (- E bit (two_point mu) (m - 1) (fun t =>
    ln (alpha + beta m alpha * sum t (top_one 0))))).

(** `prp-two-point-not-worst` (Theorem B): if the law on 0 and 1 reaches [Phi = 1] with both letters
present, then the weight is not valid. So at the smallest weight at which these laws pass, if one of
them is reached, another law breaks the bound. *)
Theorem two_point_not_worst m alpha mu : (2 <= m)%nat -> 0 < alpha <= 1 -> 0 < mu < 1 ->
  1 <= Phi_01 mu m alpha -> ~ valid m alpha.
Proof.
  intros Hm Ha Hmu H1 HV.
  assert (Hm2 : 2 <= INR m) by (apply (le_INR 2), Hm).
  assert (Ham : 0 < alpha <= INR m) by lra.
  pose proof (beta_nonneg m alpha Hm (proj2 Ham)) as Hb.
  pose proof (beta_eq m alpha Hm) as He.
  set (k := (m - 1)%nat) in *. set (b := beta m alpha) in *. set (w := two_point mu) in *.
  assert (Hw : forall a, 0 <= w a) by (intros [|]; unfold w, two_point; lra).
  assert (Hw1 : sum bit w = 1) by (unfold w; simpl; lra).
  assert (Hsum : forall eps t, 0 <= eps <= 1 ->
    sum t (top_one 0) <= sum t (top_one eps) <= sum t (top_one 0) + INR (length t) * eps /\
    sum t (top_one eps) <= INR (length t) /\ 0 <= sum t (top_one 0)).
  { intros eps t Heps. induction t as [|[|] t IH]; cbn [finite.sum length top_one].
    - simpl. lra.
    - rewrite S_INR. lra.
    - rewrite S_INR. lra. }
  (* how much the top term can fall *)
  set (C := b * INR k / alpha).
  assert (HC : 0 <= C).
  { unfold C. apply Rmult_le_pos; [apply Rmult_le_pos; [exact Hb|apply pos_INR]|].
    left; apply Rinv_0_lt_compat; lra. }
  assert (Htop : forall eps, 0 < eps <= 1 ->
    E bit w k (fun t => ln (alpha * 1 + b * sum t (top_one eps)))
    <= E bit w k (fun t => ln (alpha + b * sum t (top_one 0))) + C * eps).
  { intros eps Heps. rewrite <- (E_const bit w Hw1 k (C * eps)), <- E_plus.
    apply E_le; [exact Hw|]. intros t Ht.
    destruct (Hsum eps t ltac:(lra)) as ((S1 & S2) & S3 & S4). rewrite Ht in *.
    assert (Hd : 0 < alpha + b * sum t (top_one 0))
      by (assert (0 <= b * sum t (top_one 0)) by (apply Rmult_le_pos; assumption); lra).
    set (d := alpha + b * sum t (top_one 0)) in *.
    assert (Hd' : d <= alpha * 1 + b * sum t (top_one eps) <= d + b * (INR k * eps)).
    { unfold d. split.
      - assert (b * sum t (top_one 0) <= b * sum t (top_one eps)) by (apply Rmult_le_compat_l; lra). lra.
      - assert (b * sum t (top_one eps) <= b * (sum t (top_one 0) + INR k * eps))
          by (apply Rmult_le_compat_l; lra). lra. }
    pose proof (ln_le_sub1 ((alpha * 1 + b * sum t (top_one eps)) / d)
      ltac:(apply Rdiv_lt_0_compat; lra)) as Hl.
    rewrite ln_div' in Hl by lra.
    assert ((alpha * 1 + b * sum t (top_one eps)) / d - 1 <= C * eps); [|lra].
    replace ((alpha * 1 + b * sum t (top_one eps)) / d - 1)
      with ((alpha * 1 + b * sum t (top_one eps) - d) * / d) by (field; lra).
    apply Rle_trans with (b * (INR k * eps) * / alpha).
    - apply Rmult_le_compat; try lra; [left; apply Rinv_0_lt_compat; lra|].
      apply Rinv_le_contravar; [lra|]. unfold d.
      assert (0 <= b * sum t (top_one 0)) by (apply Rmult_le_pos; assumption). lra.
    - right. unfold C. field. lra. }
  (* how little the new letter can add: the draw of k zeros has probability q *)
  set (q := (1 - mu) ^ k).
  assert (Hq : 0 < q) by (apply pow_lt; lra).
  assert (Hq1 : q < 1).
  { unfold q. replace k with (S (k - 1)) by (unfold k; lia). simpl.
    assert ((1 - mu) ^ (k - 1) <= 1 ^ (k - 1)) by (apply pow_incr; lra).
    assert (0 < (1 - mu) ^ (k - 1)) by (apply pow_lt; lra). rewrite pow1 in *. nra. }
  assert (HE0 : forall j c, E bit w j (fun t => c * (if existsb (fun a => a) t then 0 else 1))
    = c * (1 - mu) ^ j).
  { clear. intros j. induction j as [|j IH]; intros c; [simpl; ring|]. cbn [E finite.sum bit].
    rewrite (E_ext bit w j (fun t => c * (if existsb (fun a => a) (true :: t) then 0 else 1))
      (fun t => 0 * (if existsb (fun a => a) t then 0 else 1))) by (intros; simpl; ring).
    rewrite IH.
    rewrite (E_ext bit w j (fun t => c * (if existsb (fun a => a) (false :: t) then 0 else 1))
      (fun t => c * (if existsb (fun a => a) t then 0 else 1))) by (intros; reflexivity).
    rewrite IH. simpl. unfold w, two_point. ring. }
  assert (Hlow : forall eps, 0 < eps <= 1 ->
    E bit w k (fun t => ln (alpha * eps + b * sum t (top_one eps))) <= ln (INR m) + q * ln eps).
  { intros eps Heps. rewrite (Rmult_comm q). unfold q. rewrite <- (HE0 k (ln eps)).
    rewrite <- (E_const bit w Hw1 k (ln (INR m))), <- E_plus.
    apply E_le; [exact Hw|]. intros t Ht.
    destruct (Hsum eps t ltac:(lra)) as (_ & S3 & S4). rewrite Ht in S3.
    assert (S5 : 0 <= sum t (top_one eps)) by (destruct (Hsum eps t ltac:(lra)) as ((? & ?) & _); lra).
    assert (Hpos : 0 < alpha * eps + b * sum t (top_one eps)).
    { assert (0 < alpha * eps) by (apply Rmult_lt_0_compat; lra).
      assert (0 <= b * sum t (top_one eps)) by (apply Rmult_le_pos; assumption). lra. }
    destruct (existsb (fun a => a) t) eqn:Hex.
    - rewrite Rmult_0_r, Rplus_0_r. apply ln_le'; [exact Hpos|]. rewrite <- He.
      assert (b * sum t (top_one eps) <= b * INR k) by (apply Rmult_le_compat_l; assumption).
      assert (alpha * eps <= alpha * 1) by (apply Rmult_le_compat_l; lra). lra.
    - assert (Hall : sum t (top_one eps) = INR (length t) * eps).
      { clear - Hex. induction t as [|[|] t IH]; [simpl; ring|discriminate|].
        cbn [finite.sum length top_one]. rewrite S_INR, IH by exact Hex. ring. }
      rewrite Hall, Ht, Rmult_1_r, <- ln_mult by lra. right. f_equal. rewrite <- He. ring. }
  (* together *)
  assert (Hall : forall eps, 0 < eps <= 1 -> 1 - C * eps + (1 - mu) * exp ((1 - q) * ln eps) <= 1).
  { intros eps Heps.
    assert (HL : law bit w (top_one eps)).
    { repeat split; [exact Hw|exact Hw1|intros [|]; simpl; lra]. }
    specialize (HV _ _ _ _ HL). unfold Phi in HV. fold k in HV. fold b in HV.
    cbn [finite.sum bit] in HV. cbn [top_one] in HV.
    specialize (Htop eps Heps). specialize (Hlow eps Heps).
    set (Et := E bit w k (fun t => ln (alpha * 1 + b * sum t (top_one eps)))) in *.
    set (El := E bit w k (fun t => ln (alpha * eps + b * sum t (top_one eps)))) in *.
    unfold Phi_01 in H1. fold k in H1. fold b in H1. fold w in H1.
    set (E0 := E bit w k (fun t => ln (alpha + b * sum t (top_one 0)))) in *.
    (* top *)
    assert (T1 : 1 - C * eps <= mu * (INR m * 1 * exp (- Et))).
    { apply Rle_trans with (mu * (INR m * exp (- E0)) * exp (- (C * eps))).
      - pose proof (exp_ineq1_le (- (C * eps))).
        pose proof (exp_pos (- (C * eps))). 
        apply Rle_trans with (exp (- (C * eps))); [lra|].
        rewrite <- (Rmult_1_l (exp (- (C * eps)))) at 1. apply Rmult_le_compat_r; lra.
      - replace (mu * (INR m * exp (- E0)) * exp (- (C * eps)))
          with (mu * (INR m * (exp (- E0) * exp (- (C * eps))))) by ring.
        rewrite <- exp_plus, Rmult_1_r. apply Rmult_le_compat_l; [lra|].
        apply Rmult_le_compat_l; [lra|]. apply exp_le. lra. }
    (* low *)
    assert (T2 : (1 - mu) * exp ((1 - q) * ln eps) <= (1 - mu) * (INR m * eps * exp (- El))).
    { apply Rmult_le_compat_l; [lra|].
      rewrite <- (exp_ln (INR m * eps)) by (apply Rmult_lt_0_compat; lra).
      rewrite <- exp_plus, ln_mult by lra. apply exp_le. lra. }
    unfold w, two_point in HV. fold (two_point mu) in HV. fold w in HV. fold Et in HV. fold El in HV.
    lra. }
  (* choose eps *)
  set (r := ln ((1 - mu) / (C + 1))).
  set (eps := exp (Rmin 0 (r / q) - 1)).
  assert (Heps : 0 < eps <= 1).
  { split; [apply exp_pos|]. unfold eps. pose proof (Rmin_l 0 (r / q)).
    apply Rle_trans with (exp 0); [apply exp_le; lra|rewrite exp_0; lra]. }
  specialize (Hall eps Heps).
  replace ((1 - q) * ln eps) with (ln eps + - (q * ln eps)) in Hall by ring.
  rewrite exp_plus, exp_ln in Hall by lra.
  assert (Hkey : C + 1 <= (1 - mu) * exp (- (q * ln eps))).
  { assert (Hln : q * ln eps <= r).
    { unfold eps. rewrite ln_exp. pose proof (Rmin_r 0 (r / q)).
      apply Rle_trans with (q * (r / q)); [apply Rmult_le_compat_l; lra|right; field; lra]. }
    apply Rle_trans with ((1 - mu) * exp (- r)).
    - unfold r. rewrite exp_Ropp, exp_ln by (apply Rdiv_lt_0_compat; lra). right. field. lra.
    - apply Rmult_le_compat_l; [lra|]. apply exp_le. lra. }
  assert ((C + 1) * eps <= (1 - mu) * exp (- (q * ln eps)) * eps) by (apply Rmult_le_compat_r; lra).
  lra.
Qed.

(** ## False twins *)

(** Theorem A with .72 in place of 2/e = .7358: false for two candidates. *)
Theorem theorem_A_twin : ~ forall m, (2 <= m)%nat -> forall alpha,
  72/100 <= alpha <= INR m -> valid m alpha.
Proof.
  intros HF. apply (not_valid_2 (72/100)); [|apply HF; [lia|simpl; lra]].
  split; [lra|]. pose proof exp_m1. lra.
Qed.

(** Theorem 2 with twice the right side: false for two candidates at .6. *)
Theorem thm2_twin : ~ forall m alpha, (2 <= m)%nat -> alpha <= 1 ->
  INR m ^ 2 * (1 - alpha) <= 2 * (alpha * (INR m - alpha)) -> valid m alpha.
Proof.
  intros HF. apply (not_valid_2 (6/10)); [|apply HF; [lia|lra|simpl; lra]].
  split; [lra|]. pose proof exp_m1. lra.
Qed.

(** Lemma 0 the other way round: valid weights do not propagate downwards. *)
Theorem valid_down_twin : ~ forall m a0 alpha, (2 <= m)%nat -> 0 < alpha <= a0 -> a0 <= INR m ->
  valid m a0 -> valid m alpha.
Proof.
  intros HF. apply (not_valid_2 (72/100)).
  - split; [lra|]. pose proof exp_m1. lra.
  - apply (HF 2%nat 1); [lia|lra|simpl; lra|]. apply valid_ge_1; [lia|simpl; lra].
Qed.

(** Independent negatives at half of [alpha_min]: false for one anchor. *)
Theorem indep_valid_A_twin : ~ forall (X Y : Type) (xs : list X) (ys : list Y) p n m alpha g,
  table xs ys p -> (1 <= n)%nat -> (2 <= m)%nat -> critic g ->
  / 2 * alpha_min n m <= alpha <= INR m -> MLCPC_indep xs ys p n m alpha g <= I xs ys p.
Proof.
  intros HF. specialize (HF _ _ _ _ _ 1%nat 2%nat (/ 2) _ agree_table ltac:(lia) ltac:(lia)
    five_critic ltac:(rewrite alpha_min_1 by lia; simpl; lra)).
  rewrite agree_I in HF. unfold MLCPC_indep, on, P, Q, px, py, agree, five, beta in HF. simpl in HF.
  replace ((1 + 1 - / 2) / (1 + 1 - 1)) with (3/2) in HF by field.
  replace (1 * (1 + 1) * 5 / (/ 2 * (5 + 0) + 3/2 * (5 + 0))) with 1 in HF by field.
  replace (1 * (1 + 1) * 5 / (/ 2 * (5 + 0) + 3/2 * (1 + 0))) with (5/2) in HF by field.
  replace (1 * (1 + 1) * 1 / (/ 2 * (1 + 0) + 3/2 * (5 + 0))) with (/4) in HF by field.
  replace (1 * (1 + 1) * 1 / (/ 2 * (1 + 0) + 3/2 * (1 + 0))) with 1 in HF by field.
  rewrite ln_1 in HF.
  replace (729/256) with (3 * 3 * 3 * 3 * 3 * 3 * (/4) * (/4) * (/4) * (/4)) in HF by field.
  replace (5/2) with (5 * / 2) in HF by field.
  assert (H : 0 < ln (10/9)) by (rewrite <- ln_1; apply ln_increasing; lra).
  replace (10/9) with (5 * /2 * /3 * /3 * 2 * 2) in H by field.
  replace (/4) with (/2 * /2) in HF by field. rewrite !ln_mult, !ln_Rinv in HF by lra.
  rewrite !ln_mult, !ln_Rinv in H by lra. lra.
Qed.
